"""The dispatcher's thread: requests and close from other threads, none of which may wait for ever."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

import pytest

from nbpar.errors import InternalError, PoolClosedError
from nbpar.testing import until


def double(x):
    return 2 * x


class Waiting:
    """A run whose end can be waited for."""

    def __init__(self, bench, *args):
        self.bench = bench
        self.record = bench.begin(*args)

    def wait(self):
        deadline = monotonic() + 60
        while not self.record.over and monotonic() < deadline:
            self.bench.dispatcher._thread.join(0.01)
        assert self.record.over, "nobody was told of the end"
        return self.record


def _raise(error):
    raise error


def answer_until_over(bench, run):
    """Let the workers work until a run is over."""
    deadline = monotonic() + 60
    while not run.record.over and monotonic() < deadline:
        bench.backend.answer_all()
        bench.dispatcher._thread.join(0.01)
    run.wait()


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
        error = run.wait().error
        assert isinstance(error, InternalError)
        assert "OSError: the socket is gone); this is a bug of nbpar; please report it" in str(error)
        assert "in _fail" in str(error)
    bench.dispatcher._thread.join(20)
    assert len(crashes) == 1
    assert bench.dispatcher.failed
    with pytest.raises(InternalError, match="the next map makes new workers"):
        bench.begin(double, [1])


def test_a_backend_that_fails_once_costs_the_runs_that_are_under_way_and_no_other(bench, crashes):
    first = Waiting(bench, double, range(4))
    until(lambda: first.record.events, 20, "the run did not begin")
    troubles = [OSError("not now")]
    bench.backend._fail = lambda: _raise(troubles.pop()) if troubles else None
    bench.backend.wake()
    until(lambda: not troubles, 20, "the backend was not asked")
    bench.clock.advance(1.0)  # it waits no longer for last answers
    bench.backend.wake()
    assert isinstance(first.wait().error, InternalError)

    second = Waiting(bench, double, range(4))
    answer_until_over(bench, second)

    assert second.record.results == [0, 2, 4, 6]
    assert crashes == []


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit, MemoryError])
@pytest.mark.parametrize("part", ["emit", "deliver"])
def test_a_run_that_cannot_be_handled_ends_alone(bench, crashes, part, error):
    def fail(_):
        raise error("of the sink")

    broken = Waiting(bench, double, range(2))
    other = Waiting(bench, double, range(2))
    setattr(broken.record, part, fail)

    answer_until_over(bench, broken)
    answer_until_over(bench, other)

    assert isinstance(broken.record.error, InternalError)
    assert f"{error.__name__}: of the sink" in str(broken.record.error)
    assert other.record.results == [0, 2]
    assert crashes == []


def test_a_run_whose_end_cannot_be_told_holds_up_no_other(bench, crashes, caplog):
    broken = Waiting(bench, double, range(2))
    other = Waiting(bench, double, range(2))
    broken.record.finish = None

    answer_until_over(bench, other)

    assert other.record.results == [0, 2]
    assert crashes == []
    assert "could not be told" in caplog.text


def test_a_request_that_fails_leaves_nobody_waiting(bench, crashes):
    run = Waiting(bench, double, range(2))

    bench.dispatcher.request(lambda: 1 / 0)
    until(lambda: run.record.ends or bench.clock.advance(1.0) or bench.backend.wake(), 20, "it did not end")

    assert isinstance(run.record.error, InternalError)
    assert crashes == []


def test_the_thread_ends_when_the_dispatcher_is_closed(bench):
    before = set(threading.enumerate())
    Waiting(bench, double, range(2))
    [thread] = set(threading.enumerate()) - before

    bench.dispatcher.close()

    assert not thread.is_alive()
