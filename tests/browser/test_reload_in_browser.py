"""A page that is reloaded during a run, or after it, can show the run again."""

import pytest

SETUP = """\
import threading, time, nbpar
pool = nbpar.Pool(2, backend="threads")
gate = threading.Event()
def wait(n):
    time.sleep(0.02)
    if n == 60:
        gate.wait(60)
    return n"""
BLOCKED = "out = pool.map(lambda n: time.sleep(0.2) or n, range(40), label='blocked')"
BEHIND = "run = pool.map_async(wait, range(100), label='behind'); run.show()"
LINE = r"behind: 100 of 100 done · [\d.]+ s on 2 workers"


@pytest.fixture
def open_pool(open_notebook, front_end):
    """Open a notebook that has a pool of two threads."""
    return lambda *cells: open_notebook(*cells, setup=SETUP, front_end=front_end)


def test_a_card_in_the_background_comes_back_and_says_how_its_run_ended(open_pool):
    notebook = open_pool(BEHIND, "gate.set()")
    notebook.result_of(1)
    notebook.card()
    notebook.save()

    notebook.reload()
    card = notebook.card()
    notebook.wait_until("state", "running")
    notebook.result_of(2)

    notebook.wait_until("line", LINE)
    notebook.shoot("reloaded-background")
    assert card.get_by_role("button").count() == 0
    assert notebook.page.locator(".nbpar-header").is_hidden()


def test_a_page_that_is_reloaded_after_the_end_says_how_the_run_ended(open_pool):
    notebook = open_pool(BEHIND, "gate.set(); run.wait()")
    notebook.result_of(1)
    notebook.card()
    notebook.save()
    notebook.reload()
    notebook.result_of(2)

    notebook.reload()

    notebook.wait_until("line", LINE)


def test_a_cell_that_was_waiting_when_the_page_was_reloaded_shows_its_run_when_it_is_over(open_pool):
    notebook = open_pool(BLOCKED, "6 * 7")
    notebook.run(1)
    notebook.card()
    notebook.save()

    notebook.reload()
    assert "blocked over 40 items" in notebook.shown(1).text_content()

    assert notebook.result_of(2) == "42"
    notebook.wait_until("line", "blocked: 40 of 40 done")


def test_runs_are_listed_and_shown_again_where_nothing_was_saved(open_pool):
    listed = "%load_ext nbpar\n%nbpar runs"
    notebook = open_pool(BEHIND, listed, "nbpar.runs()[-1].show()", "gate.set()", "run.wait(); run.show()")
    notebook.result_of(1)
    notebook.card()

    notebook.reload()
    assert notebook.page.locator(".nbpar-card").count() == 0

    assert "behind  running" in notebook.result_of(2)
    notebook.result_of(3)
    notebook.card()
    notebook.wait_until("state", "running")
    notebook.result_of(4)
    notebook.page.wait_for_selector(".nbpar-report")
    assert "behind: 100 of 100 done" in notebook.text(3)
    assert notebook.result_of(5) == "behind: 100 of 100 done"
    notebook.shoot("runs", notebook.shown(2))


def test_a_widget_that_is_not_found_leaves_what_ran_to_be_read(open_pool):
    notebook = open_pool(BEHIND)
    notebook.result_of(1)
    notebook.card()
    notebook.save()

    notebook.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.restartKernel()")
    notebook.reload()

    notebook.page.get_by_text("Error displaying widget").wait_for()
    assert notebook.page.get_by_text("behind over 100 items").is_visible()
    notebook.shoot("not-found", notebook.shown(1))
