"""Code that runs its own event loop works in items as in a plain script."""

from __future__ import annotations

import asyncio
import sys
import warnings

import pytest

import nbpar


async def tenfold(n):
    await asyncio.sleep(0)
    return n * 10


def run_it(n):
    return asyncio.run(tenfold(n))


def run_it_in_a_new_loop(n):
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(tenfold(n))
    finally:
        loop.close()


def close_the_current_loop(n):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            loop = asyncio.get_event_loop()
        except RuntimeError:  # Python 3.14 and newer make none
            asyncio.set_event_loop(loop := asyncio.new_event_loop())
    value = loop.run_until_complete(tenfold(n))
    loop.close()
    return value


def in_a_running_loop(work):
    """Call `work()` where a loop runs, as a cell of a notebook does."""

    async def cell():
        value = work()
        assert asyncio.get_running_loop().is_running()
        await asyncio.sleep(0)
        return value

    return asyncio.run(cell())


@pytest.mark.parametrize("function", [run_it, run_it_in_a_new_loop])
def test_items_run_event_loops_of_their_own(pool, function):
    values = in_a_running_loop(lambda: pool.map(function, range(20)))

    assert values == list(range(0, 200, 10))


def test_the_current_loop_of_an_item_is_that_of_its_kind_of_thread(pool, kind):
    def current(n):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            loop = asyncio.get_event_loop()
        try:
            return loop.run_until_complete(asyncio.sleep(0, n * 10))
        finally:
            loop.close()

    results = pool.map(current, range(4), errors="collect")

    nested = hasattr(
        asyncio, "_nest_patched"
    )  # nest_asyncio, which old kernels apply, makes loops everywhere
    if sys.version_info < (3, 14) and (nested or kind.options.get("backend") != "threads"):
        assert results == [0, 10, 20, 30]
    else:
        assert {type(failure.exception) for failure in results} == {RuntimeError}
        assert "no current event loop" in str(results[0].exception)


def test_no_event_loop_seems_to_run_around_an_item(pool):
    def look(_):
        with pytest.raises(RuntimeError, match="no running event loop"):
            asyncio.get_running_loop()
        return asyncio._get_running_loop()

    assert in_a_running_loop(lambda: pool.map(look, range(4))) == [None] * 4


def test_a_loop_that_an_item_closes_is_not_the_next_ones_current_loop(kind, pool):
    if not (kind.own_process or kind.options["backend"] == "serial"):
        pytest.skip("no current loop is made in a thread")

    values = in_a_running_loop(lambda: pool.map(close_the_current_loop, range(20)))

    assert values == list(range(0, 200, 10))


def test_an_initializer_runs_an_event_loop(make_pool):
    pool = make_pool(1, initializer=run_it, initargs=(1,))

    assert in_a_running_loop(lambda: pool.map(run_it, [2, 3])) == [20, 30]


def test_a_stage_runs_an_event_loop(kind):
    stage = nbpar.Stage(run_it, backend=kind.options["backend"], workers=1)

    with nbpar.Pipeline([stage]) as pipeline:
        assert in_a_running_loop(lambda: pipeline.map([1, 2], progress="none")) == [10, 20]


def test_code_of_a_channel_runs_an_event_loop(kind, pool):
    if kind.options["backend"] == "serial":
        pytest.skip("a serial pool has no channels")

    def serve(channel):
        channel.send(asyncio.run(tenfold(channel.receive())))

    channel = pool.gateways[0].remote_exec(serve)
    channel.send(4)

    assert channel.receive(timeout=30) == 40


def test_a_failure_is_replayed_as_it_ran(pool):
    def fail(n):
        raise ValueError(asyncio.run(tenfold(n)))

    failed = pool.map(fail, [1], errors="collect")

    with pytest.raises(ValueError, match="10"):
        in_a_running_loop(failed[0].replay)


def test_advise_tries_functions_that_run_an_event_loop():
    advice = in_a_running_loop(lambda: nbpar.advise(run_it, range(3), workers=1))

    assert advice.function == "run_it"


@pytest.mark.engines
def test_an_engine_has_its_own_event_loop_back_afterwards():
    with nbpar.Cluster(1) as cluster, nbpar.Pool(cluster=cluster, progress="none") as pool:
        pool.map(close_the_current_loop, range(3))
        pool.close()

        def look():
            loop = asyncio.get_running_loop()
            return loop.is_running(), loop is asyncio.get_event_loop_policy().get_event_loop()

        assert cluster.client[0].apply_async(look).get(timeout=30) == (True, True)
