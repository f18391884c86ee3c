"""Reports and advice, in both themes and in any front end."""

import json

import pytest

SETUP = """\
import time, nbpar
pool = nbpar.Pool(3, backend="threads", progress="none")
def wait(x):
    time.sleep(0.3 if x == 7 else 0.01)
    if x % 20 == 3:
        raise ValueError(f"no words in {x}")
    return x
_ = pool.map(wait, range(60), errors="collect", label="wait")"""
REPORT = "nbpar.last_run.report"
ADVICE = "nbpar.advise(wait, [1, 2, 4, 5, 6] * 20)"


@pytest.fixture
def report(open_notebook):
    """A notebook that shows a report."""
    notebook = open_notebook(REPORT, setup=SETUP)
    assert "computing" in notebook.result_of(1)
    return notebook


def test_a_report_shows_where_time_went_and_what_workers_did(report):
    shown = report.shown(1)

    assert "computing" in shown.text_content()
    assert is_drawn(shown.locator("img"))
    report.shoot_both("run-report", shown)


def test_a_report_is_the_same_in_a_notebook_that_nobody_trusts(report, reopen):
    stored = report.save()
    stored["cells"][0]["source"] = "# changed, so that nobody trusts it"
    file = report.file.with_stem("untrusted-report")
    file.write_text(json.dumps(stored))

    shown = reopen(file).shown(1)

    assert is_drawn(shown.locator("img"))
    assert "thread 0: " in shown.locator("img").get_attribute("alt")


@pytest.mark.parametrize("kind", ["html", "markdown"])
def test_a_report_keeps_its_picture_when_it_is_exported(report, browser, kind):
    report.save()

    exported = report.exported(kind)

    assert "computing" in exported
    page = browser.new_page()
    page.set_content(exported)
    assert is_drawn(page.get_by_alt_text("Work over time"))
    page.close()


def test_advice_is_a_table(open_notebook):
    notebook = open_notebook(ADVICE, setup=SETUP)
    notebook.result_of(1)

    shown = notebook.shown(1)

    assert shown.locator("tr").count() > 2
    assert shown.locator("caption strong").text_content().startswith("wait: ")
    notebook.shoot_both("advice", shown)


def is_drawn(image):
    """Whether a picture was read and is shown."""
    image.wait_for()
    return image.evaluate("async image => (await image.decode(), image.naturalWidth > 300)")
