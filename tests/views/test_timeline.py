"""Strips and marks."""

import pytest
from fake_runs import FakeRun

from nbpar.views.strips import LETTERS, MARKS, PER_LETTER, SLOTS, Busy, Timeline


def _levels(letters):
    return [
        LETTERS.index(letter) >> 2 * (PER_LETTER - 1 - place) & 3 for letter in letters for place in range(3)
    ]


def _strip_of(run, timeline, row=0):
    timeline.take(run.snapshot())
    return _levels(timeline.letters(row))


def test_slots_say_how_much_of_them_was_busy():
    strip = Busy()

    strip.add(0.0, 1.0, 1.0)
    strip.add(1.5, 2.0, 1.0)
    strip.add(3.9, 4.0, 1.0)

    assert _levels(strip.letters(1.0))[:5] == [3, 2, 0, 1, 0]


def test_drawing_bit_by_bit_gives_what_drawing_at_once_gives():
    whole, parts = Busy(), Busy()

    whole.add(0.3, 7.7, 0.5)
    for start in range(3, 77):
        parts.add(start / 10, (start + 1) / 10, 0.5)
        parts.letters(0.5)

    assert parts.letters(0.5) == whole.letters(0.5)


def test_folding_keeps_what_was_busy():
    strip = Busy()
    strip.add(0.0, 3.0, 1.0)

    strip.fold()

    assert _levels(strip.letters(2.0))[:2] == [3, 2]


def test_a_strip_stays_small_however_long_the_run_is():
    run, timeline = FakeRun(None, workers=1), Timeline()

    for _ in range(200):
        run.work("0", seconds=500.0)
        timeline.take(run.snapshot())

    assert len(timeline.letters(0)) <= SLOTS / PER_LETTER
    assert timeline.length > 100_000
    assert set(_levels(timeline.letters(0))[: int(100_000 / timeline.width)]) == {3}


def test_waiting_shows_as_a_gap():
    run, timeline = FakeRun(12, workers=1), Timeline()

    run.work("0", seconds=0.1)
    run.now += 0.1
    run.work("0", seconds=0.1)

    assert _strip_of(run, timeline)[:12] == [3, 3, 3, 3, 0, 0, 0, 0, 3, 3, 3, 3]


def test_when_there_were_too_many_spans_their_sum_is_drawn():
    run, timeline = FakeRun(None, workers=1), Timeline()

    for _ in range(1000):
        run.work("0", seconds=0.001)

    assert set(_strip_of(run, timeline)[:39]) == {3}


def test_a_span_that_grows_between_two_looks_is_drawn_and_marked_once():
    run, timeline = FakeRun(None, workers=1), Timeline()
    for count in range(4):
        run.work("0", seconds=0.002, fail={3: ValueError()} if count == 3 else None)
        timeline.take(run.snapshot())

    [span] = run.snapshot().lanes[0].spans
    assert span.end == pytest.approx(0.008)
    assert timeline.upto(0) == span.end
    assert [mark.kind for mark in timeline.marks] == ["failed"]
    assert _levels(timeline.letters(0))[0] == 1  # 8 of 25 ms


def test_failures_deaths_and_newcomers_are_marked_once():
    run, timeline = FakeRun(12), Timeline()
    timeline.take(run.snapshot())

    run.work("0", fail={0: ValueError()})
    run.lose("1")
    run.join("2")
    timeline.take(run.snapshot())
    timeline.take(run.snapshot())

    assert [(mark.row, mark.kind) for mark in timeline.marks] == [
        (1, "lost"),
        (1, "joined"),
        (0, "failed"),
    ]
    assert timeline.marks[2].at == pytest.approx(0.1)


def test_however_much_fails_the_death_of_a_worker_stays_marked():
    run, timeline = FakeRun(None), Timeline()
    run.lose("1")

    for _ in range(3 * MARKS):
        run.work("0", fail={run.next: ValueError()})
        timeline.take(run.snapshot())

    assert "lost" in {mark.kind for mark in timeline.marks}
    assert len(timeline.marks) == MARKS + 1


def test_folding_keeps_which_part_of_the_items_failed():
    run, timeline = FakeRun(None, workers=1), Timeline()
    for turn in range(400):
        run.work("0", 10, seconds=1.0, fail={run.next: ValueError()} if turn > 200 else None)
        timeline.take(run.snapshot())

    levels = _levels(timeline.failures(0))

    middle = int(201 / timeline.width)
    assert set(levels[:middle]) == {0}
    assert set(levels[middle + 1 : int(400 / timeline.width)]) == {1}
