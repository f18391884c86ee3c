"""Buttons of the card, pressed while its cell runs, in JupyterLab and in Notebook 7."""

import re
import time

import pytest


@pytest.fixture(autouse=True)
def open_here(open_notebook, front_end):
    """Open notebooks in the front end whose turn it is."""
    return lambda *cells: open_notebook(*cells, front_end=front_end)


def test_stop_by_click_ends_the_run_at_once_and_the_queued_next_cell_runs_normally(open_here):
    notebook = open_here("play(total=10**6)", "print('next', 6 * 7)")
    notebook.run(1)
    notebook.run(2)
    card = notebook.card()
    notebook.wait_moving(card)

    begun = time.monotonic()
    notebook.press("Stop count_words")
    notebook.wait_finished(1)

    print(f"free {1000 * (time.monotonic() - begun):.0f} ms after the click")
    assert re.search(r"stopped: [\d,]+ of 1,000,000 done\n'stopped'", notebook.text(1))
    notebook.wait_finished(2)
    assert notebook.text(2) == "next 42\n"


def test_stop_by_key_does_the_same(open_here, front_end):
    notebook = open_here("play(total=10**6)", "print('next', 6 * 7)")
    notebook.run(1)
    notebook.run(2)
    card = notebook.card()

    card.get_by_role("button", name="Pause").focus()
    notebook.page.keyboard.press("Tab")
    notebook.shoot(f"focus-{front_end}", card)
    notebook.page.keyboard.press("Enter")

    notebook.wait_finished(1)
    assert "stopped: " in notebook.text(1)
    notebook.wait_finished(2)
    assert notebook.text(2) == "next 42\n"


def test_pause_holds_the_run_and_resume_lets_it_go_on(open_here, front_end):
    notebook = open_here("play(total=10**6)")
    notebook.run(1)
    card = notebook.card()

    notebook.press("Pause")
    notebook.wait_until("state", "^paused")
    notebook.wait_until("table", r"^(\didle[\d,]+ MB)+$")  # what was under way is done
    held = notebook.done(card)
    notebook.shoot(f"paused-{front_end}", card)

    assert notebook.done(card) == held
    notebook.press("Resume")
    notebook.wait_moving(card)
    notebook.press("Stop")
    notebook.wait_finished(1)


def test_workers_are_added_and_taken_away_while_the_run_goes_on(open_here):
    notebook = open_here("play(total=10**6, workers=2)")
    notebook.run(1)
    notebook.card()
    notebook.wait_until("alive", "^2 workers$")

    notebook.press("Add a worker")
    notebook.wait_until("alive", "^3 workers$")
    notebook.press("Remove a worker")
    notebook.wait_until("alive", "^2 workers$")

    notebook.press("Stop")
    notebook.wait_finished(1)


def test_two_runs_in_one_cell_each_have_a_card_and_buttons_of_their_own(open_here, front_end):
    notebook = open_here("play_together(2, total=10**6, workers=2)")
    notebook.run(1)
    notebook.card(1)
    notebook.shoot(f"two-{front_end}")

    notebook.press("Stop run 1")
    notebook.wait_finished(1)

    assert re.search(r": stopped: [\d,]+ of 1,000,000 done$", notebook.text(1))


def test_a_run_in_the_background_keeps_its_card_and_reports_under_its_own_cell(open_here, front_end):
    notebook = open_here("thread = play_in_background(total=10**6)", "print('next', 6 * 7)")
    notebook.run(1)
    card = notebook.card()
    notebook.run(2)
    notebook.wait_finished(2)

    notebook.press("Stop")
    card.wait_for(state="detached")
    notebook.wait_until("report", "stopped: ")

    assert re.search(r"count_words: stopped: ", notebook.text(1))
    assert notebook.text(2) == "next 42\n"
    notebook.shoot(f"background-{front_end}")
