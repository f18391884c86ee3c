"""All workers finish together: at the end of a map none is idle while another has a queue."""

from __future__ import annotations

import random
from heapq import heappop, heappush
from itertools import count

import pytest

from nbpar.core.chunking import Chunker
from nbpar.core.scheduling.runstate import RunState
from nbpar.core.scheduling.scheduler import Scheduler
from nbpar.core.source import SequenceSource

TRANSIT = 1e-4
"""Seconds that a chunk, and its answer, are on their way."""


def duration(items, workers, *, spread):
    """Simulate a map of items of 1 ms, more or less by a `spread`; return its time, the ideal one being 1."""
    dice, number = random.Random(1), count()
    times = [1e-3 * (1 + spread * (dice.random() - 0.5)) for _ in range(items)]
    scheduler, run = Scheduler(), RunState(1, SequenceSource(range(items)), Chunker())
    scheduler.add(run)
    for place in range(workers):
        scheduler.join(str(place))
    free = dict.fromkeys(scheduler.windows, 0.0)
    events, now = [(0.0, next(number), None)], 0.0
    while not run.done:
        now, _, call = heappop(events)
        if call is not None:
            scheduler.answer(call, len(call.chunk.items), seconds_of(call, times), now, final=True)
            scheduler.settle(call, call.chunk.first, list(call.chunk.items), {}, now)
        for new in scheduler.assign(now):
            free[new.worker] = max(free[new.worker], now + TRANSIT) + seconds_of(new, times)
            heappush(events, (free[new.worker] + TRANSIT, next(number), new))
        if (due := scheduler.due(now)) is not None:
            heappush(events, (due, next(number), None))
    return now * workers / sum(times)


def seconds_of(call, times):
    return sum(times[item] for item in call.chunk.items)


@pytest.mark.parametrize("workers", [2, 3, 8])
@pytest.mark.parametrize("spread", [0.0, 1.5])
def test_items_of_a_millisecond_take_hardly_longer_than_the_ideal(workers, spread):
    assert 1.0 <= duration(2000 * workers, workers, spread=spread) < 1.01
