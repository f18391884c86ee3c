"""Several runs on the same workers: fair by time, and none is starved by another."""

from __future__ import annotations

import heapq
import itertools

import pytest

from nbpar.core.chunking import TARGET, Chunker
from nbpar.core.rates.retry import Retry
from nbpar.core.scheduling.runstate import RunState
from nbpar.core.scheduling.scheduler import CATCH_UP, Scheduler
from nbpar.core.source import SequenceSource

ENDLESS = range(10**9)


class Clockwork:
    """Workers that take exactly as long as each run's items say."""

    def __init__(self, workers: int) -> None:
        self.scheduler = Scheduler()
        self.now = 0.0
        self.used: dict[int, float] = {}
        self.first_served: dict[int, float] = {}
        self._seconds: dict[int, float] = {}
        self._events: list[tuple[float, int, object]] = []
        self._free = [0.0] * workers
        self._tie = itertools.count()
        for number in range(workers):
            self.scheduler.join(str(number))

    def add(self, *, seconds, items=ENDLESS, chunksize=None, **state):
        number = len(self._seconds)
        run = RunState(number, SequenceSource(items), Chunker(chunksize), **state)
        self._seconds[number] = seconds
        self.used[number] = 0.0
        self.scheduler.add(run)
        return run

    def work(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self._assign()
            self.now, _, call = heapq.heappop(self._events)
            self._answer(call)

    def _assign(self) -> None:
        for call in self.scheduler.assign(self.now):
            worker, items = int(call.worker), len(call.chunk.items)
            self.first_served.setdefault(call.run.id, self.now)
            self._free[worker] = max(self._free[worker], self.now) + self._seconds[call.run.id] * items
            heapq.heappush(self._events, (self._free[worker], next(self._tie), call))

    def _answer(self, call) -> None:
        items = len(call.chunk.items)
        seconds = self._seconds[call.run.id] * items
        self.used[call.run.id] += seconds
        self.scheduler.answer(call, items, seconds, self.now, final=True)
        self.scheduler.settle(call, call.chunk.first, [None] * items, {}, self.now)


@pytest.mark.parametrize(
    ("seconds", "chunksize"),
    [
        ((0.01, 0.01), None),
        ((0.001, 0.2), None),
        ((1e-5, 1.0), None),
        ((0.5, 0.5), 1),
        ((0.002, 0.2), 1),
        ((5e-4, 0.03), 1),
    ],
)
@pytest.mark.parametrize("workers", [1, 2, 5])
def test_two_runs_get_the_same_time_whatever_their_items_cost(seconds, chunksize, workers):
    clockwork = Clockwork(workers)
    for each in seconds:
        clockwork.add(seconds=each, chunksize=chunksize)

    clockwork.work(30 * max(TARGET, *seconds))

    longest_chunk = max(TARGET, *seconds)
    assert abs(clockwork.used[0] - clockwork.used[1]) <= CATCH_UP + 3 * workers * longest_chunk


@pytest.mark.parametrize("chunksize", [None, 1])
def test_a_short_run_is_served_at_once_beside_a_long_one(chunksize):
    clockwork = Clockwork(2)
    clockwork.add(seconds=1e-4, chunksize=chunksize)
    clockwork.work(0.5)
    began = clockwork.now

    clockwork.add(seconds=1e-5, items=range(1))
    clockwork.work(0.5)

    assert clockwork.first_served[1] - began <= 2 * TARGET


def test_a_run_that_was_paused_does_not_keep_the_others_out_to_make_up_for_it():
    clockwork = Clockwork(1)
    paused = clockwork.add(seconds=0.01)
    clockwork.add(seconds=0.01)
    paused.paused = True
    clockwork.work(60.0)
    before = dict(clockwork.used)

    paused.paused = False
    clockwork.work(10.0)

    gained = {number: clockwork.used[number] - before[number] for number in (0, 1)}
    assert gained[0] - gained[1] <= CATCH_UP + 3 * TARGET
    assert gained[1] > 4.0


def test_a_run_that_begins_late_gets_no_more_than_its_share_from_then_on():
    clockwork = Clockwork(2)
    clockwork.add(seconds=0.01)
    clockwork.work(30.0)
    before = clockwork.used[0]

    clockwork.add(seconds=0.01)
    clockwork.work(10.0)

    assert clockwork.used[0] - before == pytest.approx(clockwork.used[1], abs=CATCH_UP + 4 * TARGET)


def test_a_retry_of_what_once_killed_a_worker_waits_until_one_is_idle():
    scheduler = Scheduler()
    run = RunState(1, SequenceSource(["deadly"]), retry=Retry(1, first=0.0))
    scheduler.add(run)
    scheduler.join("a")
    [_] = scheduler.assign(0.0)
    scheduler.lose("a")
    scheduler.join("b")
    [second] = scheduler.assign(0.0)
    other = RunState(2, SequenceSource(ENDLESS), Chunker(1))
    scheduler.add(other)
    other.chunker.learn(1, 1e-5, round_trip=1e-3)
    scheduler.answer(second, 1, 0.1, 0.1, final=True)
    scheduler.settle(second, 0, [None], {0: failure("deadly")}, 0.1)

    first_again = next(iter(scheduler.assign(0.2)))
    others = list(scheduler.assign(0.2))

    if first_again.run is run:
        assert others == []
    else:
        assert all(call.run is other for call in others)


def failure(item):
    from nbpar.core.outcome import Failure

    return Failure(0, item, ValueError(item))
