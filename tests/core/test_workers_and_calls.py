"""What the scheduler does with workers and calls that it does not know any more, or that are overdue."""

from __future__ import annotations

import pytest

from nbpar.core.chunking import LARGEST_BYTES, Chunk, Chunker
from nbpar.core.scheduling.ready import MOST_STALE
from nbpar.core.scheduling.runstate import RunState
from nbpar.core.scheduling.scheduler import Scheduler
from nbpar.core.source import DirectSource, SequenceSource


def begun(items=4, *, workers="a", chunksize=1, seconds=None, **more):
    """Return a scheduler with a run and its first calls, by worker."""
    scheduler = Scheduler()
    run = RunState(1, SequenceSource(range(items)), Chunker(chunksize), **more)
    if seconds is not None:
        run.chunker.learn(1, seconds)
    scheduler.add(run)
    for worker in workers:
        scheduler.join(worker)
    return scheduler, {call.worker: call for call in scheduler.assign(0.0)}


def test_a_worker_that_is_gone_is_asked_for_nothing():
    scheduler, calls = begun()
    scheduler.lose("a")

    assert (scheduler.retire("a"), scheduler.hold("a"), scheduler.lose("a")) == ([], [], [])
    scheduler.free("a")
    scheduler.shorten(calls["a"].id, 0)
    scheduler.drop(calls["a"].id)
    assert list(scheduler.assign(1.0)) == []
    assert not scheduler.windows.busy


def test_a_worker_that_is_held_gets_work_again_when_it_is_free_unless_it_retires():
    scheduler, calls = begun(6, workers="abc")
    for worker in "abc":
        scheduler.hold(worker)
        finish(scheduler, calls[worker])
    assert list(scheduler.assign(1.0)) == []

    scheduler.retire("b")
    for worker in "ab":
        scheduler.free(worker)
    scheduler.free("a")

    assert {call.worker for call in scheduler.assign(1.0)} == {"a"}
    assert scheduler.windows.retired() == ["b"]


def finish(scheduler, call, now=0.5, seconds=0.1):
    count = len(call.chunk.items)
    scheduler.answer(call, count, seconds, now, final=True)
    return scheduler.settle(call, call.chunk.first, [None] * count, {}, now)


def test_a_call_that_could_not_be_sent_is_dropped_and_its_run_goes_on():
    scheduler, calls = begun(2)
    run = calls["a"].run

    scheduler.drop(calls["a"].id)
    scheduler.drop(calls["a"].id)

    assert not scheduler.windows.busy
    [call] = scheduler.assign(1.0)
    assert call.chunk.first == 1
    scheduler.drop(call.id)
    assert run.id not in scheduler.runs


def test_an_item_that_did_not_stop_at_its_limit_is_not_tried_again():
    scheduler, calls = begun(1)
    scheduler.windows.head("a").condemn()

    hopeless = scheduler.lose("a")

    assert hopeless == [calls["a"]]
    assert hopeless[0].overdue
    assert scheduler.settle(calls["a"], 0, [None], {}, 1.0, hopeless=True)[0]


def test_of_several_items_it_is_not_certain_which_one_runs():
    scheduler, calls = begun(4, chunksize=4)

    scheduler.windows.head("a").condemn()

    assert not calls["a"].overdue
    scheduler.answer(calls["a"], 3, 0.1, 0.5, final=False)
    scheduler.windows.head("a").condemn()
    assert calls["a"].overdue


def test_events_of_a_run_whose_input_grows_are_told_once():
    scheduler = Scheduler()
    scheduler.join("a")
    growing, complete = (
        RunState(n, source) for n, source in enumerate([DirectSource("ab"), SequenceSource("ab")])
    )
    for run in (growing, complete):
        scheduler.add(run)
    assert scheduler.take_touched() == [growing]
    assert scheduler.take_touched() == []

    scheduler.touch_attended()
    assert scheduler.attended == scheduler.take_touched() == [growing]

    for run in (growing, complete):
        scheduler.remove(run)
        scheduler.touch(run)
        scheduler.enter(run)
    assert scheduler.take_touched() == []
    assert list(scheduler.assign(0.0)) == []


def test_indices_of_a_run_of_single_items_are_zero_on_the_worker():
    _, calls = begun(3, workers="ab", singly=True)
    assert [call.base for call in calls.values()] == [0, 1]

    _, calls = begun(3, workers="ab")
    assert [call.base for call in calls.values()] == [0, 0]


def test_silence_is_counted_from_the_last_answer():
    scheduler, calls = begun(4, chunksize=4)
    assert scheduler.windows.silence("a", 2.0) == 2.0

    scheduler.answer(calls["a"], 1, 0.1, 1.5, final=False)

    assert scheduler.windows.silence("a", 2.0) == 0.5


def test_a_worker_that_comes_back_under_its_name_is_watched_like_any_other():
    scheduler, calls = begun(8, workers="a", chunksize=4)
    scheduler.lose("a", died=False)
    for worker in "ab":
        scheduler.join(worker)
    calls = {call.worker: call for call in scheduler.assign(0.001)}

    finish(scheduler, calls["b"], 0.01)
    list(scheduler.assign(0.01))

    assert scheduler.windows.recall(1.0) == [calls["a"]]
    assert scheduler.windows.recall(2.0) == []


def test_runs_that_wait_for_nothing_are_due_at_no_time():
    scheduler = Scheduler()

    assert scheduler.due(0.0) is None
    scheduler.add(RunState(1, SequenceSource("a")))
    assert scheduler.due(0.0) is None


@pytest.mark.parametrize("fixed", [None, 7])
def test_a_size_that_was_asked_for_is_told(fixed):
    chunker = Chunker(fixed)

    assert chunker.fixed == fixed
    assert chunker.current == (fixed or 1)


@pytest.mark.parametrize(("seconds", "timed"), [(None, True), (1e-3, True), (1e-6, False)])
def test_items_are_timed_one_by_one_where_that_costs_little(seconds, timed):
    chunker = Chunker()
    if seconds is not None:
        chunker.learn(1, seconds)

    assert chunker.timed is timed


def test_an_answer_without_items_says_nothing_of_their_time():
    chunker = Chunker()

    chunker.learn(0, 1.0, round_trip=1.0)

    assert chunker.seconds_per_item is None
    assert chunker.round_trip > 0.1


def test_a_worker_that_leaves_makes_room_in_a_limited_run():
    scheduler, calls = begun(4, workers="ab", most_workers=1)
    [(worker, call)] = calls.items()
    assert list(call.run.members) == [worker]

    scheduler.lose(worker)

    other = next(iter("ab".replace(worker, "")))
    assert [(again.worker, again.chunk.first) for again in scheduler.assign(1.0)] == [(other, 0)]
    assert list(call.run.members) == [other]


def test_an_input_that_ends_while_it_is_read_is_told():
    scheduler, run = Scheduler(), RunState(1, DirectSource("a"))
    scheduler.add(run)
    scheduler.join("a")
    run.ask(1)
    [call] = scheduler.assign(0.0)
    finish(scheduler, call)
    run.ask(1)
    scheduler.take_touched()

    assert list(scheduler.assign(1.0)) == []

    assert scheduler.take_touched() == [run]
    assert run.done


def test_what_killed_a_worker_waits_for_an_idle_one_and_no_other_run_delays_it():
    scheduler, calls = begun(9, seconds=1e-4)
    first = calls["a"].run
    under_way = scheduler.windows.calls_of(first)
    first.give_back(Chunk(100, [100], deaths=1))
    later = RunState(2, SequenceSource(range(9)), Chunker(1))
    later.chunker.learn(1, 1e-4)
    first.priority = -1.0
    scheduler.add(later)

    assert list(scheduler.assign(0.001)) == []

    for call in under_way:
        finish(scheduler, call)
    [trial] = scheduler.assign(1.0)
    assert (trial.run, trial.chunk.deaths) == (first, 1)
    assert list(scheduler.assign(9.0)) == []  # nothing runs beside it
    finish(scheduler, trial, 9.0)
    assert list(scheduler.assign(9.0))


def test_the_queue_of_runs_is_cleaned_of_old_entries():
    scheduler, longest = Scheduler(), 0
    scheduler.join("a")
    runs = [RunState(number, SequenceSource(range(200)), Chunker(1)) for number in range(3)]
    for run in runs:
        run.chunker.learn(1, 1.0)
        scheduler.add(run)

    for step in range(600):
        for call in list(scheduler.assign(float(step))):
            finish(scheduler, call, step + 0.5, seconds=step % 10 == 0)  # mostly sooner than expected
            longest = max(longest, len(scheduler._ready._heap))

    assert MOST_STALE < longest <= MOST_STALE + 2 * len(runs) + 1
    assert not scheduler.runs


def test_an_item_for_another_worker_does_not_concern_a_busy_one():
    scheduler, calls = begun(1)
    scheduler.join("b")
    scheduler.hold("b")
    pinned = RunState(2, SequenceSource(()))
    pinned.pin(("b",), "item")
    scheduler.add(pinned)
    assert list(scheduler.assign(1.0)) == []

    scheduler.free("b")

    assert [(call.worker, call.run) for call in scheduler.assign(2.0)] == [("b", pinned)]
    finish(scheduler, calls["a"], 3.0)
    assert list(scheduler.assign(3.0)) == []


def test_the_next_item_of_a_call_is_the_first_without_an_outcome():
    scheduler, calls = begun(4, chunksize=4)
    assert calls["a"].next == 0

    scheduler.answer(calls["a"], 3, 0.1, 0.5, final=False)

    assert calls["a"].next == 3
    scheduler.lose("a", died=False)
    assert [call.next for call in assigned(scheduler, "b")] == [3]


def assigned(scheduler, worker):
    scheduler.join(worker)
    return list(scheduler.assign(1.0))


def test_chunks_of_items_that_move_many_bytes_are_small():
    chunker = Chunker()
    for _ in range(9):
        chunker.learn(chunker.current, chunker.current * 1e-6, moved=chunker.current << 20)

    assert chunker.current == LARGEST_BYTES >> 20
    assert chunker.bytes_per_item == 1 << 20
