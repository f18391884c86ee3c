"""What an item tells of its progress, in words and in a lane."""

from __future__ import annotations

import math

import pytest

from nbpar.core import events
from nbpar.core.inner_bars import InnerBar, described
from nbpar.core.progress import Progress


def bar(name="epoch", done=3.0, total=10.0, unit="it", note="", rate=1.0):
    return InnerBar(name, done, total, unit, note, rate)


@pytest.mark.parametrize(
    ("bars", "words"),
    [
        ([bar(), bar("batch", 450, 1800)], "epoch 3/10, batch 25 %"),
        ([bar("", 999, 1000)], "99 %"),
        ([bar(total=None, done=1234)], "epoch 1,234 it"),
        ([bar(total=0.0, done=2, unit="")], "epoch 2"),
        ([bar(total=2.5, done=1)], "epoch 40 %"),
        ([bar(total=math.inf, done=math.nan)], "epoch ? it"),
        ([bar(done=12)], "epoch 12/10"),
        ([], ""),
    ],
)
def test_bars_are_described_in_few_words(bars, words):
    assert described(bars) == words


def test_the_share_is_between_nothing_and_all():
    assert [bar(done=done).share for done in (-1, 5, 12)] == [0.0, 0.5, 1.0]
    assert [bar(total=total).share for total in (None, 0, math.inf)] == [None] * 3


def moved(index, *bars, call=1, worker="a"):
    return events.BarsMoved(101.0, worker, call, index, bars)


def done(first, count, *, final, call=1):
    return events.ItemsDone(102.0, "a", call, first, count, 0, 0, 0.1, (), 0, 0, final, 1)


@pytest.fixture
def fold():
    fold = Progress()
    fold(events.RunStarted(100.0, "count", 10))
    fold(events.WorkerJoined(100.0, "a", "here", 1))
    fold(events.ChunkSent(100.0, "a", 1, 0, 4, 1))
    return fold


def shown(fold):
    """What the lane shows: index of the item, and how far it is."""
    [lane] = fold.snapshot(103.0).lanes
    return lane.inner_item, [one.done for one in lane.inner]


def test_a_lane_shows_the_item_that_began_first(fold):
    fold(moved(2, bar(done=1), bar(done=7)))
    fold(moved(3, bar(done=5)))
    assert shown(fold) == (2, [1, 7])

    fold(moved(2, bar(done=2)))
    assert shown(fold) == (2, [2])

    fold(moved(2))
    assert shown(fold) == (3, [5])


@pytest.mark.parametrize(
    ("event", "left"),
    [
        (done(0, 2, final=False), (2, [3.0])),
        (done(0, 3, final=False), (-1, [])),
        (done(0, 1, final=True), (-1, [])),
        (done(0, 3, final=True, call=9), (2, [3.0])),
        (events.WorkerLost(102.0, "a", "killed"), (-1, [])),
        (moved(2, worker="another"), (2, [3.0])),
        (moved(7), (2, [3.0])),
    ],
)
def test_the_bars_of_an_item_go_with_it(fold, event, left):
    fold(moved(2, bar()))

    fold(event)

    assert shown(fold) == left
