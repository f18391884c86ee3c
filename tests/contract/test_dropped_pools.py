"""A pool that is no longer referenced releases its workers after its current runs."""

from __future__ import annotations

import gc
import linecache
import os
import threading
import warnings
from contextlib import contextmanager

import psutil
import pytest

import nbpar
from nbpar.testing import until

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(autouse=True)
def no_collector():
    """Pools must end without the help of the garbage collector."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.fixture
def drop(kind, everything):
    """A block in which a pool is dropped: it warns where engines are left, and ends with nothing left."""

    @contextmanager
    def block():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
            everything.until_gone()
        warned = [(warning.category, str(warning.message)) for warning in caught]
        text = "unclosed <nbpar.Pool: 2 on engines>; use it in a `with` block, or call its `close()`"
        assert warned == ([(ResourceWarning, text)] if kind.own_process else [])

    return block


@pytest.fixture
def everything():
    return Everything()


STAYS = "nbpar dropped channels"
"""The one thread that this process has for all channels."""


class Everything:
    """The threads of nbpar and the processes that come from now on."""

    def __init__(self):
        self._me = psutil.Process()
        self._threads = set(threading.enumerate())
        self._processes = set(self._me.children(recursive=True))

    def new(self):
        threads = {it for it in set(threading.enumerate()) - self._threads if it.name.startswith("nbpar ")}
        return {it.name for it in threads if it.name != STAYS} | (
            set(self._me.children(recursive=True)) - self._processes
        )

    def until_gone(self):
        until(lambda: not self.new(), 60, "not all of a pool that was dropped is gone")


@pytest.fixture
def new_pool(kind):
    return lambda: nbpar.Pool(2, progress="none", **kind.options)


def test_the_workers_go(new_pool, drop):
    with drop():
        pool = new_pool()
        assert pool.map(abs, [-1, -2]) == [1, 2]
        del pool


def test_the_warning_names_the_line_that_made_the_pool(kind, new_pool, everything):
    if not kind.own_process:
        pytest.skip("there is no warning")

    with pytest.warns(ResourceWarning) as caught:
        nbpar.Pool(2, **kind.options)

    where = [(warning.filename, linecache.getline(warning.filename, warning.lineno)) for warning in caught]
    assert where == [(__file__, "        nbpar.Pool(2, **kind.options)\n")]
    everything.until_gone()


def test_the_workers_of_a_pool_that_was_never_used_go(new_pool, drop):
    with drop():
        new_pool()


def test_the_workers_of_a_pool_that_was_restarted_go(new_pool, drop):
    with drop():
        pool = new_pool()
        pool.map(abs, [-1])
        pool.restart()
        pool.map(abs, [-1])
        del pool


def test_a_pool_in_a_cycle_goes_with_the_collector(new_pool, drop):
    with drop():
        cycle = [new_pool().wait()]
        cycle.append(cycle)
        del cycle
        gc.collect()


def test_a_map_goes_on_without_its_pool(kind, new_pool, gate, drop):
    if not kind.concurrent:
        pytest.skip("it is over before the pool can be dropped")

    with drop():
        run = new_pool().map_async(lambda n: gate.wait() or n, range(20))
        gate.until_waiting(2)
        gate.open()

        assert run.get(60) == list(range(20))


def test_a_map_that_nobody_holds_is_finished(kind, new_pool, gate, drop, tmp_path):
    if not kind.concurrent:
        pytest.skip("it is over before the pool can be dropped")
    names = {str(n) for n in range(6)}
    done = tmp_path / "done"
    done.mkdir()

    with drop():
        new_pool().map_async(lambda name: gate.wait() or (done / name).touch(), sorted(names))
        nbpar.Pool(backend="serial").map(abs, [1])  # it is the last run now
        gate.until_waiting(2)
        gate.open()

    assert {path.name for path in done.iterdir()} == names


@pytest.mark.parametrize("how", ["imap", "imap_unordered"])
def test_a_loop_goes_on_without_its_pool(new_pool, drop, how):
    with drop():
        assert set(getattr(new_pool(), how)(abs, range(2000))) == set(range(2000))


def test_a_loop_that_is_left_lets_the_workers_of_its_pool_go(new_pool, drop):
    with drop():
        for _ in new_pool().imap(abs, iter(int, 1)):
            break


def test_a_call_goes_on_without_its_pool(new_pool, drop):
    with drop():
        assert new_pool().submit(pow, 2, 3).result(60) == 8


def test_an_executor_keeps_the_workers(new_pool, drop):
    with drop():
        executor = new_pool().executor()
        assert list(executor.map(abs, range(-5, 0))) == [5, 4, 3, 2, 1]
        future = executor.submit(abs, -1)
        del executor

        assert future.result(60) == 1


def test_a_queue_keeps_the_workers(new_pool, drop):
    with drop():
        with new_pool().queue(abs) as results:
            for n in (-1, -2):
                results.put(n)
                assert results.get() == -n
        del results


def test_a_pipeline_keeps_the_workers(new_pool, drop):
    with drop():
        pipeline = nbpar.Pipeline([abs, str], pool=new_pool())
        assert pipeline.map([-1, -2], progress="none") == ["1", "2"]
        values = pipeline.imap(range(100), progress="none")
        del pipeline

        assert list(values) == [str(n) for n in range(100)]


def test_a_channel_keeps_the_workers(kind, new_pool, drop):
    if not kind.concurrent:
        pytest.skip("a serial pool has no channels")

    def echo(channel):
        for item in channel:
            channel.send(item)

    with drop():
        channel = new_pool().gateways[0].remote_exec(echo)
        channel.send(1)
        assert channel.receive(60) == 1
        assert channel.gateway.pool.map(abs, [-3]) == [3]
        channel.send(2)
        assert channel.receive(60) == 2
        del channel


def test_a_callback_gets_everything_after_its_pool_is_gone(kind, new_pool, gate, drop):
    if not kind.concurrent:
        pytest.skip("a serial pool has no channels")
    items = []

    def send(channel):
        gate.wait()
        for n in range(5):
            channel.send(n)

    with drop():
        channel = new_pool().gateways[0].remote_exec(send)
        channel.set_callback(items.append)
        del channel
        gate.until_waiting()
        gate.open()
        until(lambda: len(items) == 5)

    assert items == [0, 1, 2, 3, 4]


def test_code_that_nobody_listens_to_keeps_no_worker(kind, new_pool, gate, drop):
    if not kind.stops_items:
        pytest.skip("what runs there cannot be stopped")

    with drop():
        channel = new_pool().gateways[0].remote_exec(lambda channel: gate.wait(1000))
        gate.until_waiting()
        del channel


def test_a_pool_may_be_dropped_in_the_thread_that_hands_out_its_work(kind, new_pool, gate, drop):
    if not kind.concurrent:
        pytest.skip("there is no such thread")
    where = []

    class Owner:
        def __init__(self):
            self.pool = new_pool()

        def __del__(self):
            where.append(threading.current_thread().name)

    with drop():
        owners = [Owner()]
        run = owners[0].pool.map_async(lambda n: gate.wait() or n, range(4))
        run.when_over(owners.clear)
        gate.until_waiting(2)
        gate.open()
        assert run.get(60) == [0, 1, 2, 3]

    assert where == ["nbpar dispatcher"]


def test_a_pool_may_be_dropped_while_its_locks_are_held(new_pool, drop):
    with drop():
        pool = new_pool()
        pool.map(abs, [1])
        keeper = pool._keeper
        with pool._lock, keeper.launcher.dispatcher._lock, keeper._closing:
            del pool
        del keeper


def test_a_pool_may_be_dropped_in_any_thread(new_pool, drop):
    pools = []

    def use():
        pools.append(new_pool())
        pools[0].map(abs, [1])
        pools.clear()

    with drop():
        thread = threading.Thread(target=use, daemon=True)
        thread.start()
        thread.join(60)


def test_a_pool_that_could_not_be_made_is_not_dropped_with_a_warning(kind):
    with pytest.raises(TypeError):
        nbpar.Pool("two", **kind.options)


def test_buttons_keep_no_pool(kind, new_pool, drop):
    if not kind.concurrent:
        pytest.skip("a serial pool has no such buttons")

    with drop():
        pool = new_pool()
        resize = pool._resize_by
        resize(1)
        assert pool.size == 3
        pool.resize(2)
        del pool

        resize(1)


def test_a_pool_that_is_dropped_while_it_computes_does_so_with_workers_that_die(kind, new_pool, gate, drop):
    if not kind.own_process:
        pytest.skip("they cannot die")
    mark = gate._path("died")

    def die_once(n):
        gate.wait()
        if n == 3 and not mark.exists():
            mark.touch()
            os._exit(1)
        return n

    with drop():
        run = new_pool().map_async(die_once, range(20))
        gate.until_waiting(2)
        gate.open()

        assert run.get(90) == list(range(20))
