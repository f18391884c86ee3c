"""The display of a run in a saved notebook, wherever it is opened."""

import json

import pytest

RUN = "play(total=60, workers=2, fails=[3, 5])"
REPORT = "count_words", "58 of 60 items", " on 2 workers", "2 failed: item 3"


def test_the_report_is_there_when_a_notebook_is_opened_again(open_notebook, reopen, front_end):
    notebook = open_notebook(RUN, front_end=front_end)
    notebook.result_of(1)
    notebook.save()

    again = reopen(notebook.file, front_end)

    shown = again.shown(1).text_content()
    assert all(words in shown for words in REPORT)
    assert "Error displaying widget" not in shown
    assert "model not found" not in shown
    again.page.locator("details.nbpar-report summary").click()
    again.shoot(f"reopened-{front_end}", again.shown(1))


def test_the_report_is_there_in_a_notebook_that_nobody_trusts(open_notebook, reopen):
    notebook = open_notebook(RUN)
    notebook.result_of(1)
    stored = notebook.save()
    stored["cells"][0]["source"] = "# changed, so that nobody trusts it"
    file = notebook.file.with_stem("untrusted")
    file.write_text(json.dumps(stored))

    untrusted = reopen(file)

    shown = untrusted.shown(1).text_content()
    assert all(words in shown for words in REPORT)
    assert "Error displaying widget" not in shown


@pytest.mark.parametrize("kind", ["html", "markdown"])
def test_the_report_is_there_when_a_notebook_is_exported(open_notebook, kind):
    notebook = open_notebook(RUN)
    notebook.result_of(1)
    notebook.save()

    exported = notebook.exported(kind)

    assert all(words in exported for words in REPORT)
    assert "widget-view" not in exported
    assert "nbpar-card" not in exported


def test_no_state_of_widgets_is_stored(open_notebook):
    notebook = open_notebook(RUN)
    notebook.result_of(1)

    assert "widgets" not in notebook.save()["metadata"]


def test_a_notebook_that_was_saved_while_its_run_went_on_says_what_ran(open_notebook):
    notebook = open_notebook("play(total=10**6)")
    notebook.run(1)
    notebook.card()

    stored = notebook.save()

    text = "".join(stored["cells"][1]["outputs"][0]["data"]["text/plain"])
    assert text == "count_words over 1,000,000 items"
    notebook.press("Stop")
    notebook.wait_finished(1)
