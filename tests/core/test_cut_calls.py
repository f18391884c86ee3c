"""Recalling the unstarted items of a call: when it happens, and what becomes of them."""

from __future__ import annotations

import pytest

from nbpar.core.chunking import Chunk, Chunker
from nbpar.core.scheduling.runstate import RunState
from nbpar.core.scheduling.scheduler import Scheduler
from nbpar.core.scheduling.windows import LASTS
from nbpar.core.source import SequenceSource


def begun(items, *, chunksize, workers=2, **run):
    """Return a scheduler that has given a run's items to its workers, and the calls by worker."""
    scheduler = Scheduler()
    state = RunState(1, SequenceSource(range(items)), Chunker(chunksize), **run)
    scheduler.add(state)
    for number in range(workers):
        scheduler.join(str(number))
    return scheduler, {call.worker: call for call in scheduler.assign(0.0)}


def finish(scheduler, call, now, count=None):
    first, left = call.chunk.first + call.done, len(call.chunk.items) - call.done
    count = left if count is None else count
    scheduler.answer(call, count, 1e-3, now, final=count == left)
    scheduler.settle(call, first, list(call.chunk.items[:count]), {}, now)


def given(scheduler, now):
    """Return the current assignments: worker and items of each call."""
    return [(call.worker, list(call.chunk.items)) for call in scheduler.assign(now)]


def test_what_comes_after_an_item_that_lasts_goes_to_an_idle_worker():
    scheduler, calls = begun(8, chunksize=4)
    finish(scheduler, calls["1"], 0.01)

    assert scheduler.due(0.01) == LASTS
    assert scheduler.windows.recall(LASTS - 1e-3) == []
    [call] = scheduler.windows.recall(LASTS)
    assert (call, call.cut) == (calls["0"], True)
    assert scheduler.windows.recall(1.0) == []
    scheduler.shorten(call.id, 1)

    assert given(scheduler, 1.0) == [("1", [1, 2, 3])]
    assert list(call.chunk.items) == [0]


def test_it_is_divided_among_all_that_are_idle():
    scheduler, _ = begun(7, chunksize=7, workers=4)
    [call] = scheduler.windows.recall(LASTS)
    scheduler.shorten(call.id, 1)

    assert given(scheduler, LASTS) == [("1", [1, 2]), ("2", [3, 4]), ("3", [5, 6])]


def test_a_chunk_stays_together_while_all_have_something_to_do():
    scheduler, _ = begun(100, chunksize=4)

    assert scheduler.windows.recall(10.0) == []


def test_the_item_at_hand_alone_cannot_be_cut():
    scheduler, calls = begun(4, chunksize=4)
    finish(scheduler, calls["0"], 0.01, count=3)

    assert scheduler.windows.recall(10.0) == []
    assert scheduler.due(10.0) is None


def test_the_next_call_of_a_worker_may_last_as_well():
    scheduler = Scheduler()
    run = RunState(1, SequenceSource(range(9)), Chunker(3))
    run.chunker.learn(3, 3e-6, round_trip=1e-3)  # so short that several are sent ahead
    scheduler.add(run)
    scheduler.join("0")
    first, second, third = scheduler.assign(0.0)
    scheduler.join("1")
    assert scheduler.windows.recall(LASTS) == [first, second, third]
    finish(scheduler, first, LASTS)  # it was too late to ask for any of them

    assert scheduler.windows.recall(1.9 * LASTS) == []
    assert scheduler.windows.recall(2.1 * LASTS) == [second]
    scheduler.shorten(second.id, 2)
    assert given(scheduler, 0.2) == [("1", [5])]


@pytest.mark.parametrize("trouble", ["held", "retiring", "no member", "paused"])
def test_nothing_is_asked_for_while_nobody_could_take_it(trouble):
    limits = {"most_workers": 1} if trouble == "no member" else {}
    scheduler, calls = begun(8, chunksize=8, **limits)
    call = calls["0"]
    if trouble == "held":
        scheduler.hold("1")
    elif trouble == "retiring":
        scheduler.retire("1")
    call.run.paused = trouble == "paused"

    assert scheduler.windows.recall(LASTS) == []
    assert scheduler.due(LASTS) == pytest.approx(2 * LASTS)

    if trouble == "paused":
        call.run.paused = False
    elif trouble == "no member":
        call.run.most_workers = 2
    else:
        scheduler.join("2")
    assert scheduler.windows.recall(2 * LASTS + 1e-6) == [call]


def test_nothing_is_lost_when_the_worker_dies_before_or_after_it_has_answered():
    scheduler, calls = begun(8, chunksize=4)
    finish(scheduler, calls["1"], 0.01)
    [call] = scheduler.windows.recall(LASTS)
    scheduler.lose("0")
    scheduler.shorten(call.id, 1)  # an answer of the dead
    pieces = given(scheduler, LASTS)
    assert pieces == [("1", [0])]  # what may have killed it runs alone

    scheduler, calls = begun(8, chunksize=4)
    finish(scheduler, calls["1"], 0.01)
    [call] = scheduler.windows.recall(LASTS)
    scheduler.shorten(call.id, 1)
    assert given(scheduler, LASTS) == [("1", [1, 2, 3])]
    scheduler.lose("0")
    assert [list(chunk.items) for chunk in call.run._again] == [[0]]


def test_a_cut_is_no_failure_and_no_attempt():
    scheduler, _ = begun(4, chunksize=4)
    [call] = scheduler.windows.recall(LASTS)
    scheduler.shorten(call.id, 1)

    [again] = scheduler.assign(LASTS)

    assert (again.chunk.first, again.chunk.attempt, again.chunk.deaths) == (1, 1, 0)


def test_a_stopped_run_gets_nothing_back():
    scheduler, calls = begun(4, chunksize=4)
    run = calls["0"].run
    scheduler.windows.recall(LASTS)
    scheduler.remove(run)

    scheduler.shorten(calls["0"].id, 1)

    assert given(scheduler, LASTS) == []
    scheduler.answer(calls["0"], 1, 1.0, LASTS, final=True)
    assert not scheduler.runs


@pytest.mark.parametrize("number", [1, 2, 3, 10, 64])
def test_the_parts_of_a_chunk_are_all_of_it(number):
    chunk = Chunk(5, list(range(10)), attempt=2, deaths=1)

    parts = chunk.parts(number)

    assert len(parts) <= number
    assert [item for part in parts for item in part.items] == list(range(10))
    assert [part.first for part in parts] == [5 + part.items[0] for part in parts]
    assert {(part.attempt, part.deaths) for part in parts} == {(2, 1)}


def stages_on(worker, *, short=False, items=4):
    """Return a scheduler with two runs of one worker each, that have to share the only one, and its calls."""
    scheduler = Scheduler()
    for number in (1, 2):
        run = RunState(number, SequenceSource(range(items)), Chunker(1), most_workers=1)
        if short:
            run.chunker.learn(3, 3e-6, round_trip=1e-3)  # so short that several are sent ahead
        scheduler.add(run)
    scheduler.join(worker)
    return scheduler, list(scheduler.assign(0.0))


def test_a_worker_that_comes_late_takes_what_waits_behind_an_item_of_another_limited_run():
    scheduler, calls = stages_on("0", short=True)
    head, *behind = calls
    others = [call for call in behind if call.run is not head.run]
    assert others
    scheduler.join("1")
    assert list(scheduler.assign(0.0)) == []  # neither run may be in two places

    recalled = scheduler.windows.recall(2 * LASTS)
    assert [call for call in recalled if call.run is not head.run] == others
    for call in recalled:
        scheduler.answer(call, 0, 0.0, 2 * LASTS, final=True)  # not begun

    taken = list(scheduler.assign(2 * LASTS))
    assert taken
    assert {call.worker for call in taken if call.run is not head.run} == {"1"}
    assert {call.worker for call in taken if call.run is head.run} <= {"0"}


def test_limited_runs_share_a_worker_only_as_long_as_they_must():
    scheduler, calls = stages_on("0", short=True, items=200)
    scheduler.join("1")
    places = {}
    while calls:
        call = calls.pop(0)
        places.setdefault(call.worker, set()).add(call.run.id)
        finish(scheduler, call, 1e-3)
        calls += scheduler.assign(1e-3)
        if scheduler.windows.claims["1"]:
            assert scheduler.windows.claims["0"] < 2

    assert len(places["1"]) == 1
    assert not scheduler.runs
    assert not any(scheduler.windows.claims.values())


def test_a_shared_worker_is_not_spared_for_one_that_has_something_to_do():
    scheduler, calls = stages_on("0", short=True)
    other = RunState(3, SequenceSource(range(1)), Chunker(1))
    scheduler.add(other)
    scheduler.join("1")
    calls += scheduler.assign(0.0)
    assert [call.worker for call in calls if call.run is other] == ["1"]

    while mine := [call for call in calls if call.run is not other]:
        calls.remove(mine[0])
        finish(scheduler, mine[0], 1e-3)
        calls += scheduler.assign(1e-3)

    assert set(scheduler.runs) == {3}


def test_items_of_a_call_are_unanswered_until_their_outcome_is_there():
    scheduler, calls = begun(8, chunksize=4)
    call = calls["1"]
    assert list(call.unanswered) == [4, 5, 6, 7] == list(call.chunk.indices)

    finish(scheduler, call, 0.01, count=3)

    assert list(call.unanswered) == [7]
