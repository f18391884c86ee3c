"""When a worker gets its next chunk, and when one is recalled."""

from __future__ import annotations

import heapq
from collections import deque

import pytest

from nbpar.core.chunking import Chunk, Chunker
from nbpar.core.scheduling.runstate import RunState
from nbpar.core.scheduling.scheduler import Scheduler
from nbpar.core.scheduling.windows import EARLY, LASTS, MOVED, Window, Windows
from nbpar.core.source import SequenceSource


def begun(items, *, seconds, workers=1):
    """Return a scheduler with a run whose items are known to take so long."""
    scheduler = Scheduler()
    run = RunState(1, SequenceSource(range(items)), Chunker(1))
    run.chunker.learn(1, seconds, round_trip=1e-3)
    scheduler.add(run)
    for number in range(workers):
        scheduler.join(str(number))
    return scheduler


def numbers(calls):
    return [call.chunk.first for call in calls]


def finish(scheduler, call, now):
    scheduler.answer(call, 1, now - call.sent, now, final=True)
    scheduler.settle(call, call.chunk.first, [None], {}, now)


def test_the_next_chunk_follows_shortly_before_a_worker_is_through():
    scheduler = begun(3, seconds=0.1)

    assert numbers(scheduler.assign(0.0)) == [0]
    soon = scheduler.due(0.0)
    assert 0.09 < soon < 0.1 - EARLY
    assert numbers(scheduler.assign(soon - 1e-6)) == []
    assert numbers(scheduler.assign(soon)) == [1]


def test_nothing_follows_when_nothing_is_left():
    scheduler = begun(1, seconds=0.1)

    assert numbers(scheduler.assign(0.0)) == [0]
    assert scheduler.due(0.0) is None


def test_the_first_chunks_of_a_run_are_followed_by_none():
    scheduler = Scheduler()
    scheduler.add(RunState(1, SequenceSource(range(9)), Chunker(1)))
    scheduler.join("0")

    assert numbers(scheduler.assign(0.0)) == [0]
    assert numbers(scheduler.assign(10.0)) == []
    assert scheduler.due(10.0) is None


def test_what_waits_behind_a_call_that_lasts_is_asked_back_for_an_idle_worker():
    scheduler = begun(4, seconds=0.1, workers=2)
    first, second = scheduler.assign(0.0)
    opened = scheduler.due(0.0)
    waiting, other = scheduler.assign(opened)
    finish(scheduler, second, 0.1)
    finish(scheduler, other, 0.2)

    assert scheduler.windows.recall(0.1 + EARLY / 2) == []
    assert scheduler.windows.recall(0.2) == [waiting]
    assert scheduler.windows.recall(0.3) == []
    assert scheduler.windows.head("0") is first


def test_somebody_looks_when_it_is_time_to_ask_back():
    scheduler = begun(8, seconds=1e-3, workers=2)
    lasting, *others = scheduler.assign(0.0)
    for call in others:
        if call.worker != lasting.worker:
            finish(scheduler, call, 1e-3)
    for call in [call for call in scheduler.assign(1e-3) if call.worker != lasting.worker]:
        finish(scheduler, call, 4e-3)

    assert scheduler.windows.uneven
    assert scheduler.due(4e-3) == LASTS
    assert scheduler.windows.recall(LASTS)


@pytest.mark.parametrize("round_trip", [1e-4, 1e-3])
@pytest.mark.parametrize(
    ("seconds", "longest"),
    [
        ([0.1] * 10 + [0.001] * 30, 0.303),
        ([0.01] * 100, 0.256),
        ([0.1] * 3 + [0.5] + [0.1] * 8, 0.61),
    ],
)
def test_four_workers_are_hardly_later_than_they_must(seconds, longest, round_trip):
    assert makespan(seconds, workers=4, round_trip=round_trip) <= longest + 2 * round_trip


def makespan(seconds, *, workers, round_trip):
    """Return when the last answer arrives, if messages take half a round trip each way."""
    scheduler, way, now = Scheduler(), round_trip / 2, 0.0
    scheduler.add(RunState(1, SequenceSource(range(len(seconds))), Chunker()))
    mail = {str(number): deque() for number in range(workers)}
    free = dict.fromkeys(mail, 0.0)
    for worker in mail:
        scheduler.join(worker)
    answers: list[tuple[float, int, object, float]] = []
    while scheduler.runs:
        for call in scheduler.assign(now):
            mail[call.worker].append(call)
        assert not scheduler.windows.recall(now), "it would have to be asked back"
        for worker, calls in mail.items():
            while calls:  # it begins with one when it has it and is through with those before
                call = calls.popleft()
                work = sum(seconds[call.chunk.first : call.chunk.first + len(call.chunk.items)])
                free[worker] = max(free[worker], now + way) + work
                heapq.heappush(answers, (free[worker] + way, call.id, call, work))
        due = scheduler.due(now)
        if due is not None and (not answers or due < answers[0][0]):
            now = due
            continue
        now, _, call, work = heapq.heappop(answers)
        items = len(call.chunk.items)
        scheduler.answer(call, items, work, now, final=True)
        scheduler.settle(call, call.chunk.first, [None] * items, {}, now)
    return now


def test_a_call_that_a_worker_got_again_waits_behind_the_others_and_is_recalled_from_there():
    windows = Windows()
    windows["busy"], windows["idle"] = Window(), Window()
    run = RunState(1, SequenceSource([1, 2]))
    first = windows.add("busy", run, Chunk(0, [1]), 0.0, 1e-6)
    second = windows.add("busy", run, Chunk(1, [2]), 0.0, 1e-6)

    windows.move_back(first, 1.0)

    assert windows.head("busy") is second
    assert windows.silence("busy", 1.5) == 0.5
    assert windows.recall(1.0) == []
    assert windows.recall(2.0) == [first]

    windows.move_back(first, 2.5)  # it is the last already
    assert windows.head("busy") is second
    assert windows.silence("busy", 3.0) == 2.0
    windows.move_back(second, 3.0)
    assert windows.head("busy") is first
    assert windows.recall(4.0) == [second]


def test_a_call_of_a_worker_that_is_gone_is_not_moved():
    windows = Windows()
    windows["busy"] = Window()
    call = windows.add("busy", RunState(1, SequenceSource([1])), Chunk(0, [1]), 0.0, 1e-6)
    windows.lose("busy")

    windows.move_back(call, 1.0)

    assert not windows


def test_a_single_call_that_a_worker_got_again_begins_anew():
    scheduler = begun(1, seconds=0.1)
    [call] = scheduler.assign(0.0)

    scheduler.windows.move_back(call, 5.0)

    assert scheduler.windows.head("0") is call
    assert scheduler.windows.silence("0", 6.0) == 1.0


def busy_and_idle(*sizes):
    """Return windows of two workers, one of which has a call of each of these sizes, and the calls."""
    windows = Windows()
    windows["busy"], windows["idle"] = Window(), Window()
    run = RunState(1, SequenceSource(sizes))
    calls = [windows.add("busy", run, Chunk(n, [n]), 0.0, 1e-6) for n in range(len(sizes))]
    for call, nbytes in zip(calls, sizes, strict=True):
        call.nbytes = nbytes
    return windows, calls


def test_a_large_call_is_recalled_only_when_it_waits_for_longer_than_moving_it_takes():
    windows, [_, small, large] = busy_and_idle(0, 0, int(MOVED))

    assert windows.recall(2 * LASTS) == [small]
    assert windows.recall(1.0) == []
    assert windows.recall(1.0 + 2 * LASTS) == [large]


def test_no_call_is_recalled_that_is_still_on_its_way():
    windows, [_, waiting] = busy_and_idle(0, 0)

    assert windows.recall(1.0, lambda worker: worker == "busy") == []
    assert windows.recall_at(1.0) == 1.0 + LASTS
    assert windows.recall(2.0, lambda worker: worker == "idle") == [waiting]
