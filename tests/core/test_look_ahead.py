"""Look-ahead of a run: the distance that it reads ahead of its consumer."""

from __future__ import annotations

import itertools

import pytest

from nbpar.core.chunking import Chunker
from nbpar.core.scheduling.runstate import MOST_BYTES, RunState
from nbpar.core.scheduling.scheduler import Scheduler
from nbpar.core.source import DirectSource, SequenceSource

MILLION = range(10**6)


def answered_without_consumer(source, *, seconds, round_trip, workers=2, **more):
    """Let workers answer all their calls while no result is taken."""
    scheduler, now = Scheduler(), 0.0
    run = RunState(1, source, Chunker(largest=4096), streaming=True, **more)
    scheduler.add(run)
    for number in range(workers):
        scheduler.join(str(number))
    for _ in range(3000):
        run.ask(workers)
        calls = list(scheduler.assign(now))
        if not calls:
            return run
        for call in calls:
            items = len(call.chunk.items)
            now = call.sent + items * seconds + round_trip
            scheduler.answer(call, items, items * seconds, now, final=True)
            scheduler.settle(call, call.chunk.first, [None] * items, {}, now)
    raise AssertionError("it never stopped")


@pytest.mark.parametrize("seconds", [1e-8, 1e-6, 1e-4])
@pytest.mark.parametrize("round_trip", [1e-4, 1e-2])
@pytest.mark.parametrize("ordered", [True, False])
def test_without_a_consumer_a_stream_stops_after_a_few_chunks_each(seconds, round_trip, ordered):
    run = answered_without_consumer(
        SequenceSource(MILLION), seconds=seconds, round_trip=round_trip, ordered=ordered
    )

    assert run.taken <= 4 * 2 * 4096


@pytest.mark.parametrize("buffersize", [1, 7, 1000])
def test_a_buffer_size_is_never_exceeded(buffersize):
    run = answered_without_consumer(
        SequenceSource(MILLION), seconds=1e-6, round_trip=1e-3, buffersize=buffersize
    )

    assert run.taken == buffersize


def test_an_endless_input_is_read_no_further_than_items_are_taken():
    read = itertools.count()
    source = DirectSource(read)

    run = answered_without_consumer(source, seconds=1e-6, round_trip=1e-3, buffersize=50)

    assert next(read) == run.taken == 50


def test_a_small_buffer_is_shared_among_the_workers():
    scheduler = Scheduler()
    run = RunState(1, SequenceSource(MILLION), Chunker(), streaming=True, buffersize=12)
    for _ in range(20):
        run.chunker.learn(run.chunker.current, run.chunker.current * 1e-3)
    scheduler.add(run)
    for worker in "abc":
        scheduler.join(worker)

    served = {call.worker for call in scheduler.assign(0.0)}

    assert served == {"a", "b", "c"}


@pytest.mark.parametrize("size", [10**5, 10**6, 10**8])
def test_a_stream_of_large_items_is_bounded_by_bytes_too(size):
    run = answered_without_consumer(
        DirectSource(itertools.repeat(bytes(size))), seconds=1e-6, round_trip=1e-2
    )

    assert 4 <= run.taken <= max(MOST_BYTES // size + 1, 5)
