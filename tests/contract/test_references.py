"""Inputs and results of a run are freed as they are taken, without the garbage collector."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref

import pytest

import nbpar

LIMIT = 30.0
"""Seconds that other threads may take to let go of what they have just handed on."""


class Thing:
    """Something that can be watched, and travels."""

    def __init__(self, number=0):
        self.number = number


class Watched:
    """Things that are to be gone."""

    def __init__(self):
        self._changed = threading.Condition()
        self._refs = []
        self._gone = 0

    def __call__(self, thing):
        self._refs.append(weakref.ref(thing, self._count))
        return thing

    def are_gone(self, but=0):
        """Wait until all of them are, but for a few; whether they are."""
        with self._changed:
            return self._changed.wait_for(lambda: self._gone >= len(self._refs) - but, LIMIT)

    def _count(self, _):
        with self._changed:
            self._gone += 1
            self._changed.notify_all()


@pytest.fixture
def watched():
    gc.collect()
    gc.disable()
    try:
        yield Watched()
    finally:
        gc.enable()


def things(watched, count=20):
    return [watched(Thing(n)) for n in range(count)]


def echo(thing):
    return Thing(thing.number)


def fail(thing):
    raise ValueError("no")


def begin_another(pool):
    """Make another run `nbpar.last_run`, which keeps its results."""
    pool.map(abs, [1])


def test_arguments_and_results_of_a_map_go_with_the_last_run(pool, watched):
    results = pool.map(echo, things(watched))

    for result in results:
        watched(result)
    del results, result
    begin_another(pool)

    assert watched.are_gone()


def test_arguments_go_before_that(pool, watched):
    pool.map(abs, [1, *[-2] * 50])
    given = [watched(Thing(n)) for n in range(300)]

    run = pool.map_async(echo, given)
    run.wait(LIMIT)
    given.clear()

    assert len([row for row in run.report.slowest if row.item is not None]) <= 10
    assert watched.are_gone(but=10)


@pytest.mark.parametrize("errors", ["raise", "collect"])
def test_failures_go_with_the_last_run(pool, watched, errors):
    def call():
        mine = things(watched)
        try:
            pool.map(fail, mine, errors=errors)
        except ValueError:
            pass

    call()
    begin_another(pool)

    assert watched.are_gone()


def test_a_run_goes_with_its_last_name(pool, watched):
    called = threading.Event()

    def call():
        run = watched(pool.map_async(echo, things(watched)))
        run.add_done_callback(lambda _: called.set())
        for result in run.get(LIMIT):
            watched(result)
        assert repr(run.report)

    call()
    assert called.wait(LIMIT)
    begin_another(pool)

    assert watched.are_gone()


def test_a_run_that_was_awaited_goes_with_its_last_name(pool, watched):
    async def main():
        run = watched(pool.map_async(echo, things(watched)))
        for result in await run:
            watched(result)

    asyncio.run(main())
    begin_another(pool)

    assert watched.are_gone()


def test_a_run_that_was_stopped_goes_with_its_last_name(busy_pool, gate, watched):
    def call():
        run = watched(busy_pool.map_async(lambda thing: gate.wait(), things(watched)))
        gate.until_waiting()
        run.cancel()
        with pytest.raises(KeyboardInterrupt):
            run.get(LIMIT)
        del run  # this frame is in the error's traceback

    call()
    gate.open()
    begin_another(busy_pool)

    assert watched.are_gone()


@pytest.mark.parametrize("chunksize", [1, 50])
def test_each_value_of_a_stream_goes_when_the_next_one_is_taken(pool, watched, chunksize):
    values = pool.imap(Thing, range(50), chunksize=chunksize)

    for value in values:
        assert watched.are_gone(but=1)
        watched(value)
    del value

    assert watched.are_gone()


def test_what_a_stream_has_read_goes_with_its_value(pool, watched):
    source = (watched(Thing(n)) for n in range(50))

    for value in pool.imap_unordered(echo, source):
        watched(value)
    del value

    assert watched.are_gone()


def test_a_stream_that_fails_keeps_nothing(pool, watched):
    def call():
        with pytest.raises(ValueError, match="no"):
            list(pool.imap(fail, things(watched), chunksize=5))

    call()
    begin_another(pool)

    assert watched.are_gone()


def test_what_an_executor_maps_goes_as_it_is_done(busy_pool, watched):
    with busy_pool.executor() as executor:
        values = executor.map(echo, things(watched))

    assert watched.are_gone()
    assert [value.number for value in values] == list(range(20))


def test_what_a_function_has_captured_goes_with_its_run(pool, watched):
    def call():
        thing = watched(Thing(3))
        assert pool.map(lambda n: n + thing.number, range(5)) == [3, 4, 5, 6, 7]

    call()
    begin_another(pool)

    assert watched.are_gone()


def test_what_is_put_into_a_queue_goes_as_results_are_got(pool, watched):
    with pool.queue(echo) as calls:
        for n in range(10):
            calls.put(watched(Thing(n)))
        for _ in range(10):
            watched(calls.get(LIMIT))

        assert watched.are_gone()


def test_an_error_that_was_got_from_a_queue_does_not_keep_itself(pool, watched):
    def call(calls):
        mine = watched(Thing())
        calls.put(mine)
        with pytest.raises(ValueError, match="no"):
            calls.get(LIMIT)

    with pool.queue(fail) as calls:
        call(calls)

        assert watched.are_gone()


def test_a_pipelines_items_go_with_the_last_run(pool, watched):
    def call():
        with nbpar.Pipeline([nbpar.Stage(echo), nbpar.Stage(echo)], pool=pool) as pipeline:
            run = watched(pipeline.map_async(things(watched)))
            for result in run.get(LIMIT):
                watched(result)
            for value in pipeline.imap(things(watched)):
                watched(value)

    call()
    begin_another(pool)

    assert watched.are_gone()


def test_what_goes_to_each_worker_goes_with_the_call(pool, watched):
    for result in pool.each(echo, watched(Thing())):
        watched(result)
    del result

    assert watched.are_gone()
