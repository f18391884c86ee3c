"""The appearance of the card: each test saves pictures for people to look at."""

import re

import pytest


def test_a_run_is_seen_moving_and_its_report_takes_the_card_s_place(open_notebook):
    notebook = open_notebook("play(total=480, workers=4, dies_at=1.5, fails=[100, 300])")
    notebook.run(1)
    card = notebook.card()

    notebook.wait_moving(card, by=50)
    notebook.wait_until("legend", "item failed.*worker lost.*worker joined")
    assert notebook.page.locator(".nbpar-header").is_hidden()
    notebook.shoot("running-light", card)
    notebook.wait_finished(1)
    card.wait_for(state="detached")

    assert "count_words: 478 of 480 done, 1 worker lost, 2 failed: item 100" in notebook.text(1)
    notebook.shoot_both("finished", notebook.shown(1))


def test_failures_open_to_their_traceback(open_notebook):
    notebook = open_notebook("play(total=10**6, fails=[20, 30, 50])")
    notebook.run(1)
    card = notebook.card()

    card.get_by_text("3 failed items").click()
    card.get_by_text("item 20 (").click()

    notebook.wait_until("failure", "Traceback.*reading 20")
    card.get_by_text("latest output").click()
    notebook.shoot_both("failed", card)
    notebook.press("Stop")
    notebook.wait_finished(1)


@pytest.mark.parametrize("workers", [16, 64, 256])
def test_many_workers_over_ten_million_items_stay_readable(open_notebook, workers):
    notebook = open_notebook(
        f"play(total=10**7, workers={workers}, mean=1.5, chunk=500, fails=[9000, 30000],"
        "     dies_at=21.0, history=20)"
    )
    notebook.run(1)
    card = notebook.card()

    notebook.wait_until("legend", "worker joined")

    assert card.bounding_box()["height"] < 600
    assert not cut_off(card)
    notebook.shoot_both(f"workers-{workers}", card)
    notebook.press("Stop")
    notebook.wait_finished(1)


def test_however_many_workers_die_those_that_are_there_keep_their_text(open_notebook):
    notebook = open_notebook("play(total=10**6, names='engine {}', dies_at=0.1, dies_every=0.1, mean=0.2)")
    notebook.run(1)
    card = notebook.card()

    notebook.wait_until("table", r"engine 2\d")

    assert card.get_by_role("row").count() == 4
    notebook.shoot("deaths", card)
    notebook.press("Stop")
    notebook.wait_finished(1)


def test_many_failures_are_grouped_and_shaded_and_it_is_said_when_there_is_nothing_else(open_notebook):
    notebook = open_notebook("play(total=10**4, chunk=5, mean=0.1, fails=range(10**4))")
    notebook.run(1)
    card = notebook.card()

    notebook.wait_until("hint", "Every item fails: .* Stop?")
    notebook.wait_until("legend", "red: items failed")
    card.get_by_text("failed items in 2 ways").click()
    card.get_by_text("ValueError at line 3").click()
    card.get_by_text("item 0 (").click()

    notebook.wait_until("list", r"more: nbpar.last_run.failures.*KeyError at line 7")
    notebook.shoot_both("all-failed", card)
    notebook.press("Stop")
    notebook.wait_finished(1)


def test_low_memory_and_a_pause_are_plain_to_see(open_notebook):
    notebook = open_notebook("play(total=10**6, low=True)")
    notebook.run(1)
    card = notebook.card()

    notebook.wait_until("state", "^held back$")
    notebook.wait_until("hint", "held back: 0.4 GB of memory left")
    notebook.shoot_both("memory-low", card)

    notebook.press("Pause")
    notebook.wait_until("state", "^paused for 1 s$")
    notebook.shoot_both("paused", card)
    notebook.press("Stop")
    notebook.wait_finished(1)


@pytest.mark.parametrize("width", [640, 1000])
def test_what_workers_do_is_not_cut_off(open_notebook, width):
    notebook = open_notebook(
        "play(total=10**5, chunk=100, mean=3, history=40, names='engine {}', fails=[40])"
    )
    notebook.page.set_viewport_size({"width": width, "height": 860})
    notebook.run(1)
    card = notebook.card()

    notebook.wait_until("table", r"items \d,\d{3}.\d,\d{3} · \d")

    assert not cut_off(card)
    notebook.shoot(f"wide-{width}", card)
    notebook.press("Stop")
    notebook.wait_finished(1)


@pytest.mark.parametrize("width", [320, 390, 600])
def test_buttons_and_label_are_in_reach_in_narrow_places_and_when_enlarged(open_notebook, front_end, width):
    notebook = open_notebook("play(total=10**6, fails=[20], dies_at=1.0)", front_end=front_end)
    notebook.page.set_viewport_size({"width": width, "height": 860})
    notebook.run(1)
    card = notebook.card()

    notebook.wait_until("legend", "worker joined")
    card.scroll_into_view_if_needed()

    edge = card.bounding_box()
    right = min(width, edge["x"] + edge["width"])
    for part in [
        *card.get_by_role("button").all(),
        card.locator(".nbpar-title"),
        card.locator(".nbpar-legend"),
    ]:
        box = part.bounding_box()
        assert edge["x"] <= box["x"]
        assert box["x"] + box["width"] <= right
    assert card.locator(".nbpar-title").evaluate("title => title.scrollWidth <= title.clientWidth")
    notebook.shoot(f"narrow-{width}-{front_end}")
    notebook.press("Stop")  # at its middle, where nothing may lie above it
    notebook.wait_finished(1)


def test_movement_and_forced_colours_follow_the_reader_s_settings(open_notebook):
    notebook = open_notebook("play(total=10**6, fails=[20], dies_at=1.0)")
    notebook.page.emulate_media(reduced_motion="reduce", forced_colors="active")
    notebook.run(1)
    card = notebook.card()

    notebook.wait_until("legend", "worker joined")

    moving = card.locator(".nbpar-fill").evaluate("node => getComputedStyle(node).transition")
    assert re.match(r"none|all 0s|.* 0s", moving)
    notebook.shoot("forced-colours", card)
    notebook.press("Stop")
    notebook.wait_finished(1)


def test_a_quick_run_gets_no_card_only_its_report(open_notebook):
    notebook = open_notebook("play(total=4, mean=0.001, progress='auto')")

    assert notebook.result_of(1) == "count_words: 4 of 4 done\n'done'"
    assert notebook.page.locator(".nbpar-card").count() == 0


def cut_off(card):
    """Return the texts that do not fit their places."""
    return card.locator(".nbpar-row span").evaluate_all(
        "spans => spans.filter(one => one.scrollWidth > one.clientWidth + 1 && one.clientWidth)"
        ".map(one => one.textContent)"
    )
