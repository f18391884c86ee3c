"""Callbacks of runs and futures that raise: each error is logged, and nothing else is affected."""

from __future__ import annotations

import asyncio
from concurrent.futures import CancelledError

import pytest

import nbpar
from nbpar.run.callbacks import callback_thread
from nbpar.testing import until

pytestmark = pytest.mark.timeout(120)


class Panic(BaseException):
    """The kind of exception that libraries written in other languages raise."""


class Unspeakable(BaseException):
    def __str__(self):
        raise SystemExit


HARM = [
    ValueError, SystemExit, GeneratorExit, asyncio.CancelledError, RecursionError, MemoryError, Panic,
    Unspeakable, KeyboardInterrupt,
]  # fmt: skip


def raises(error):
    def callback(_):
        raise error("from a callback")

    return callback


@pytest.mark.parametrize("error", HARM)
def test_whatever_a_callback_raises_is_logged_and_the_others_are_called(busy_pool, gate, caplog, error):
    called = []
    run = busy_pool.map_async(lambda _: gate.wait(), [1])
    future = busy_pool.submit(gate.wait)
    for one in (run, future):
        one.add_done_callback(raises(error))
        one.add_done_callback(called.append)

    gate.open()
    run.get(timeout=30)
    future.result(timeout=30)
    until(lambda: len(called) == 2, 30.0, "the other callbacks were not called")

    assert set(called) == {run, future}
    assert caplog.text.count("a callback of the run") == 2
    assert busy_pool.map(abs, [-1]) == [1]


@pytest.mark.parametrize("error", HARM)
def test_a_callback_of_what_is_over_raises_nothing_here(pool, caplog, error):
    run = pool.map_async(abs, [-1])
    future = pool.submit(abs, -1)
    run.get(timeout=30)
    future.result(timeout=30)

    run.add_done_callback(raises(error))
    future.add_done_callback(raises(error))

    assert "a callback of the run abs failed" in caplog.text


def test_a_callback_may_ask_for_the_results_of_a_run_that_was_stopped(busy_pool, gate, caplog):
    saved = []
    run = busy_pool.map_async(lambda _: gate.wait(), range(4), chunksize=1)
    run.add_done_callback(lambda run: saved.append(run.get()))
    gate.until_waiting(2)

    run.cancel()
    gate.open()
    with pytest.raises(nbpar.StoppedError, match="was stopped"):
        run.get(timeout=30)
    run.add_done_callback(lambda run: saved.append(run.get()))
    callback_thread.wait()

    assert saved == []
    assert caplog.text.count("StoppedError") == 2


def test_an_executor_shuts_down_after_callbacks_that_raise(busy_pool):
    executor = busy_pool.executor()
    called = []
    future = executor.submit(abs, -1)
    future.add_done_callback(raises(SystemExit))
    future.add_done_callback(lambda done: called.append(done.result()))

    executor.shutdown()

    assert called == [1]


def test_whoever_awaits_a_future_is_told_though_another_callback_raised(busy_pool):
    async def wait():
        future = busy_pool.submit(abs, -3)
        future.add_done_callback(raises(GeneratorExit))
        return await asyncio.wait_for(asyncio.wrap_future(future), 30)

    assert asyncio.run(wait()) == 3


def test_a_callback_of_a_future_that_was_cancelled_gets_its_error(busy_pool, gate):
    seen = []
    future = busy_pool.submit(gate.wait)
    future.add_done_callback(lambda done: seen.append(done.cancelled()))
    gate.until_waiting()

    future.cancel()
    gate.open()
    with pytest.raises(CancelledError):
        future.result(timeout=30)
    until(lambda: seen == [True], 30.0, "the callback was not called")
