"""The dispatcher's thread: asked from others, closed by others, and never leaving anybody waiting."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

import pytest

from nbpar.errors import PoolClosedError


def double(x):
    return 2 * x


class Waiting:
    """A run whose end can be waited for."""

    def __init__(self, bench, *args):
        self.bench = bench
        self.record = bench.begin(*args)

    def wait(self):
        deadline = monotonic() + 20
        while not self.record.over and monotonic() < deadline:
            self.bench.dispatcher._thread.join(0.01)
        assert self.record.over, "nobody was told of the end"
        return self.record


@pytest.fixture
def bench(make_bench):
    bench = make_bench(2, blocking=False)
    yield bench
    bench.backend.trouble = None
    bench.dispatcher.close()


@pytest.fixture
def crashes(monkeypatch):
    seen = []
    monkeypatch.setattr(threading, "excepthook", seen.append)
    return seen


def test_closing_ends_runs_that_are_under_way(bench):
    run = Waiting(bench, double, range(4))

    bench.dispatcher.close()

    assert isinstance(run.wait().error, PoolClosedError)
    assert bench.backend.closed


def test_closing_twice_and_from_several_threads_is_fine(bench):
    Waiting(bench, double, range(4))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: bench.dispatcher.close(), range(8)))

    assert bench.backend.closed


def test_a_run_cannot_begin_after_closing(bench):
    bench.dispatcher.close()

    with pytest.raises(PoolClosedError, match="the pool is closed"):
        bench.begin(double, [1])


def test_runs_that_begin_while_the_pool_is_closed_are_refused_or_ended(make_bench):
    for _ in range(20):
        bench = make_bench(1, blocking=False)
        barrier = threading.Barrier(2)

        def begin(bench=bench, barrier=barrier):
            barrier.wait()
            try:
                return Waiting(bench, double, [1])
            except PoolClosedError:
                return None

        with ThreadPoolExecutor(1) as thread:
            begun = thread.submit(begin)
            barrier.wait()
            bench.dispatcher.close()

        run = begun.result()
        assert run is None or run.wait().over


@pytest.mark.parametrize("moment", ["at once", "under way"])
def test_a_backend_that_breaks_leaves_nobody_waiting(bench, crashes, moment):
    if moment == "at once":
        bench.backend.trouble = OSError("the socket is gone")
    runs = [Waiting(bench, double, range(4)) for _ in range(1 if moment == "at once" else 3)]
    bench.backend.trouble = OSError("the socket is gone")
    bench.backend.wake()

    for run in runs:
        assert isinstance(run.wait().error, OSError)
    bench.dispatcher.close()
    assert len(crashes) == 1
    with pytest.raises(PoolClosedError, match="the pool is closed"):
        bench.begin(double, [1])


def test_a_sink_that_breaks_does_not_hide_the_end_from_the_other_runs(bench, crashes):
    broken = Waiting(bench, double, range(2))
    other = Waiting(bench, double, range(2))
    broken.record.emit = None

    bench.backend.lose("worker 0")

    assert other.wait().over
    bench.dispatcher.close()
    assert len(crashes) == 1


def test_the_thread_ends_when_the_dispatcher_is_closed(bench):
    before = set(threading.enumerate())
    Waiting(bench, double, range(2))
    [thread] = set(threading.enumerate()) - before

    bench.dispatcher.close()

    assert not thread.is_alive()
