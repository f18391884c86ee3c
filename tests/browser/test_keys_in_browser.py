"""Keys in the card do what the card says, and nothing to the notebook around it."""

import os
import re
import signal

import pytest

FOCUSABLE = "button, summary, pre, [tabindex='0']"
KEYS = (*"ddabxzcvmyrkjlo0", "Escape", "Control+Enter", "Shift+M", "Control+Shift+ArrowUp", "ArrowUp")
CELLS = "() => window.jupyterapp.shell.currentWidget.content.model.cells.length"
RESTART = "() => window.jupyterapp.shell.currentWidget.sessionContext.restartKernel()"
NOTE = "() => { window.heard = []; document.addEventListener('keydown', key => window.heard.push(key.key)); }"


@pytest.fixture
def running(open_notebook, front_end):
    """A notebook whose run has failures and output, all of them open."""
    notebook = open_notebook(
        "play(total=10**6, workers=2, chunk=1, mean=0.05, fails=[2])", "6 * 7", front_end=front_end
    )
    notebook.run(1)
    card = notebook.card()
    card.locator(".nbpar-failure").wait_for(state="attached")
    notebook.wait_until("stdout", "words")
    card.locator("details").evaluate_all("all => all.forEach(one => (one.open = true))")
    yield notebook
    notebook.press("Stop")
    notebook.wait_finished(1)


def test_no_key_that_is_pressed_in_the_card_reaches_the_notebook(running):
    page, card = running.page, running.card()
    page.evaluate(NOTE)
    cells = page.evaluate(CELLS)

    places = card.locator(FOCUSABLE).all()
    for place in places:
        place.focus()
        for key in KEYS:
            if place.evaluate("node => node.tagName !== 'BUTTON'") or "Enter" not in key:
                page.keyboard.press(key)

    assert len(places) >= 9
    assert page.evaluate("() => window.heard") == []
    assert page.evaluate(CELLS) == cells
    assert card.is_visible()
    page.locator(".jp-Notebook-cell").nth(2).locator(".jp-InputPrompt").click()
    page.keyboard.press("Escape")
    page.keyboard.press("d")
    page.keyboard.press("d")
    page.wait_for_function(f"number => ({CELLS})() === number", arg=cells - 1)  # so it was listening


def test_keys_go_through_the_lanes_and_say_what_each_does(running):
    page, timeline = running.page, running.card().locator(".nbpar-timeline")
    chosen = running.card().get_by_role("option", selected=True)
    timeline.focus()

    page.keyboard.press("End")
    running.wait_until("hint", "^worker 1 · item")
    assert chosen.text_content().startswith("worker 1 · ")
    assert timeline.get_attribute("aria-activedescendant") == chosen.get_attribute("id")
    running.shoot("keys", running.card())

    page.keyboard.press("Escape")
    assert chosen.count() == 0


def test_the_end_is_said_and_the_focus_goes_to_the_report(open_notebook, front_end):
    notebook = open_notebook("play(total=10**6)", front_end=front_end)
    notebook.run(1)
    card = notebook.card()

    card.get_by_role("button", name="Stop").focus()
    notebook.page.keyboard.press("Enter")
    card.wait_for(state="detached")

    notebook.page.wait_for_function("() => document.activeElement.closest('.nbpar-report')")
    said = notebook.page.locator("#nbpar-live")
    assert re.match(r"count_words: stopped, <?[\d.]+ percent done", said.text_content())
    assert said.get_attribute("aria-live") == "polite"


@pytest.mark.parametrize("how", ["restart", "kill"])
def test_a_card_whose_kernel_is_gone_has_no_news_and_no_buttons(open_notebook, front_end, how):
    notebook = open_notebook("import os\nos.getpid()", "play(total=10**6)", front_end=front_end)
    process = int(notebook.result_of(1))
    notebook.run(2)
    card = notebook.card()
    notebook.wait_moving(card)

    if how == "kill":
        os.kill(process, signal.SIGKILL)
    else:
        notebook.page.evaluate(RESTART)

    notebook.wait_until("state", "^no news$")
    assert all(button.is_disabled() for button in card.get_by_role("button").all())
    notebook.wait_until("hint", "restarted or has ended")
    assert "left" not in card.locator(".nbpar-numbers").text_content()
    notebook.shoot(f"gone-{how}-{front_end}", card)
