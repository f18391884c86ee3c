"""Pure: which functions are async, and how many of their items a worker has."""

import contextlib
import functools
import signal
import sys

import pytest

from nbpar.core.chunking import Chunker
from nbpar.core.concurrency import (
    CONCURRENCY,
    COST,
    ConcurrentChunker,
    concurrency_of,
    is_async,
    waits_to_begin,
)
from nbpar.core.scheduling.runstate import RunState
from nbpar.core.scheduling.scheduler import Scheduler
from nbpar.core.source import SequenceSource


async def waits(x):
    return x


async def numbers():
    yield 1


class Waits:
    async def __call__(self, x):
        return x


class Opens:
    async def __aenter__(self):
        return self

    async def __aexit__(self, *exc_info):
        return None


def test_a_function_is_async_by_what_it_is_itself():
    @functools.wraps(waits)
    def runs(x):
        return x

    assert all(map(is_async, [waits, functools.partial(waits, 1), Waits(), Waits().__call__]))
    assert not any(map(is_async, [abs, runs, Waits, lambda x: waits(x), functools.partial(abs)]))  # noqa: PLW0108


def test_the_concurrency_is_what_is_asked_or_the_default():
    assert [concurrency_of(waits, None), concurrency_of(waits, 7), concurrency_of(abs, None)] == [
        CONCURRENCY,
        7,
        0,
    ]
    assert concurrency_of(abs, 3) == 3  # perhaps it returns something to await
    with pytest.raises(TypeError, match="`numbers` is an asynchronous generator"):
        concurrency_of(numbers, None)


def test_an_initializer_waits_if_it_makes_a_context_manager_too():
    manager = contextlib.asynccontextmanager(numbers)

    assert all(map(waits_to_begin, [waits, manager, functools.partial(manager), Opens]))
    assert not any(map(waits_to_begin, [abs, contextlib.contextmanager(iter), Waits]))
    with pytest.raises(TypeError, match="asynccontextmanager"):
        waits_to_begin(numbers)


def test_a_worker_has_as_many_items_as_slots_and_a_few_more_when_they_are_short():
    chunker = ConcurrentChunker(100)
    assert (chunker.window, chunker.seconds_per_item, chunker.timed, chunker.size(50, 2)) == (
        100,
        COST,
        True,
        1,
    )

    chunker.learn(1, 0.001)
    assert (chunker.window, chunker.seconds_per_item) == (100, 0.001)
    chunker.learn(1, 0.001, round_trip=0.01)
    assert chunker.window == 130
    for _ in range(200):
        chunker.learn(1, 0.001, round_trip=10.0)
    assert chunker.window == 101
    chunker.learn(0, 0.0, round_trip=1.0)
    assert chunker.window == 101


def run_of(number, items, chunker):
    return RunState(number, SequenceSource(range(items)), chunker)


def test_both_kinds_of_runs_have_a_window_of_their_own():
    scheduler = Scheduler()
    scheduler.join("a")
    scheduler.add(run_of(1, 50, ConcurrentChunker(10)))
    first = list(scheduler.assign(0.0))
    scheduler.add(run_of(2, 50, Chunker()))

    second = list(scheduler.assign(0.0))

    assert ([call.run.id for call in first], [call.run.id for call in second]) == ([1] * 10, [2])
    window = scheduler.windows["a"]
    assert window.coroutines == 10
    assert scheduler.windows.behind("a") == [second[0].id]
    assert window.suspects == {call.id for call in (*first, *second)}
    assert window.limited is None


def test_of_a_worker_that_was_killed_for_an_item_only_that_is_suspect():
    scheduler = Scheduler()
    scheduler.join("a")
    scheduler.add(run_of(1, 3, ConcurrentChunker(10)))
    calls = list(scheduler.assign(0.0))
    calls[1].limited_since = 0.0
    assert scheduler.windows["a"].limited is calls[1]

    calls[1].condemn()

    assert scheduler.windows["a"].suspects == {calls[1].id}
    assert scheduler.lose("a") == [calls[1]]


def test_a_stream_is_ahead_by_what_fills_the_slots():
    state = RunState(1, SequenceSource(range(5000)), ConcurrentChunker(100), streaming=True)

    state.ask(2)

    assert state.appetite() == 2 * 2 * 100


def test_a_slot_is_free_when_its_item_is_answered():
    scheduler = Scheduler()
    scheduler.join("a")
    scheduler.add(run_of(1, 50, ConcurrentChunker(10)))
    first, *_ = scheduler.assign(0.0)

    scheduler.answer(first, 1, 0.0, 0.0, final=True)

    assert scheduler.windows["a"].coroutines == 9


class Hostile:
    """Something happens when its attributes are looked at."""

    def __init__(self, action):
        self.action = action

    def __getattribute__(self, name):
        if name in ("__name__", "_is_coroutine_marker", "__wrapped__"):
            object.__getattribute__(self, "action")()
        return super().__getattribute__(name)

    def __call__(self, item):
        return item


def test_a_callable_whose_attributes_cannot_be_looked_at_is_an_ordinary_one():
    hostile = Hostile(sys.exit)

    assert (is_async(hostile), waits_to_begin(hostile), concurrency_of(hostile, None)) == (False, False, 0)


def test_ctrl_c_while_they_are_looked_at_is_passed_on():
    with pytest.raises(KeyboardInterrupt):
        concurrency_of(Hostile(lambda: signal.raise_signal(signal.SIGINT)), None)
