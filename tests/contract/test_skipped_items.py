"""One item is let go while its run goes on, on every kind of worker."""

from __future__ import annotations

import contextlib

import pytest

import nbpar
from nbpar import SkippedError
from nbpar.core.outcome import Failure
from nbpar.testing import until


@pytest.fixture
def lasting(gate):
    """An item that waits at the gate if it is to, and gives its square."""
    return lambda n: (gate.wait(60) if n in (2, 3) else None) or n * n


@pytest.mark.parametrize("errors", ["raise", "collect", "skip"])
@pytest.mark.parametrize("chunksize", [1, 5, "auto"])
def test_only_that_item_is_lost(busy_pool, lasting, gate, errors, chunksize):
    run = busy_pool.map_async(lasting, range(10), chunksize=chunksize, errors=errors, retries=3)
    gate.until_waiting()

    run.skip(2)
    run.skip(2)
    until(lambda: run.failures)
    gate.open()

    results = run.get(timeout=60)
    failure = results.failures[0]
    assert run.state == "done"
    assert [n for n in results if not isinstance(n, Failure)] == [0, 1, 9, 16, 25, 36, 49, 64, 81]
    assert (len(results), results[2]) == ((9, 9) if errors == "skip" else (10, failure))
    assert type(failure.exception) is SkippedError
    assert (failure.index, failure.item, failure.attempts) == (2, 2, 1)
    assert failure.worker
    assert "gate.wait" in failure.traceback
    assert "signals.py" not in failure.traceback
    assert (run.snapshot.failed, run.snapshot.skipped, run.snapshot.bad) == (1, 1, 0)
    assert list(results.to_frame().index) == [n for n in range(10) if errors != "skip" or n != 2]


def test_an_item_that_has_not_begun_is_skipped_too(pool):
    run = pool.map_async(abs, range(100), chunksize=1)
    run.pause()
    run.skip(99)
    run.resume()

    assert run.get(timeout=60)[:99] == list(range(99))
    assert run.results()[99] in (99, *run.failures)  # it may have been quicker


def test_an_item_that_waits_for_its_rate_is_skipped_at_once(busy_pool):
    run = busy_pool.map_async(abs, range(3), rate=(1, 3600), chunksize=1)
    until(lambda: run.snapshot.done)

    run.skip(1)
    until(lambda: len(run.failures) == 1)
    run.skip(2)

    assert [n for n in run.get(timeout=60) if not isinstance(n, Failure)] == [0]
    assert [failure.item for failure in run.failures] == [1, 2]


def test_a_stream_goes_on_behind_the_skipped_item(busy_pool, lasting, gate):
    stream = busy_pool.imap(lasting, range(6), chunksize=1, buffersize=4)
    run = nbpar.last_run
    assert [next(stream), next(stream)] == [0, 1]
    gate.until_waiting(2)

    run.skip(2)
    skipped = next(stream)
    gate.open()

    assert skipped.skipped
    assert list(stream) == [9, 16, 25]


def test_an_item_that_swallows_its_interrupt_is_let_go_nevertheless(busy_pool, gate):
    def stubborn(n):
        for _ in range(600 if n == 1 else 0):
            with contextlib.suppress(BaseException):
                gate.wait(0.1)
        return n

    run = busy_pool.map_async(stubborn, range(4), chunksize=1)
    until(lambda: len(run.finished_indices) == 3)

    run.skip(1)

    try:
        assert [failure.index for failure in run.get(timeout=60).failures] == [1]
    finally:
        gate.open()
    assert busy_pool.map(abs, [-1, -2]) == [1, 2]


def test_an_item_that_there_is_not_is_refused(pool):
    run = pool.map_async(abs, range(3))
    run.get(timeout=60)

    with pytest.raises(IndexError, match="there is no item 3: the run abs has 3 items, from 0"):
        run.skip(3)
    with pytest.raises(IndexError, match="no item -1"):
        run.skip(-1)
    with pytest.raises(TypeError):
        run.skip("1")
    run.skip(2)
    assert run.get() == [0, 1, 2]


def test_a_run_that_is_stopped_afterwards_keeps_what_there_is(busy_pool, gate):
    run = busy_pool.map_async(lambda n: gate.wait(60), range(4), chunksize=1)
    gate.until_waiting(2)

    run.skip(0)
    run.cancel()
    gate.open()

    with pytest.raises(KeyboardInterrupt):
        run.get(timeout=60)
    assert busy_pool.map(abs, [-1]) == [1]
