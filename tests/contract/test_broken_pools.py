"""A pool whose dispatcher was ended by a bug says so, and the next map starts it anew."""

from __future__ import annotations

import threading
import time

import pytest

import nbpar
from nbpar.errors import InternalError, PoolClosedError
from nbpar.pool.defaults import DefaultPool, _pools

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def broken_pool(kind, make_pool, monkeypatch):
    """A pool whose way to its workers is broken for good, with the error of the run that was under way."""
    if not kind.concurrent:
        pytest.skip("a serial pool has no thread")
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    pool = make_pool().wait()
    return pool, break_way(pool)


def break_way(pool):
    """Break a pool's way to its workers for good; return the error of the run that was under way."""
    run = pool.map_async(lambda n: time.sleep(0.05), range(1000))
    pool._place.backend.receive = _fail
    pool._place.backend.wake()
    with pytest.raises(InternalError, match="OSError: the way is gone") as caught:
        run.get(timeout=60)
    pool.launcher_before = pool._keeper.launcher
    pool.launcher_before.dispatcher._thread.join(60)
    return caught.value


def _fail(_):
    raise OSError("the way is gone")


def test_the_runs_end_with_the_traceback_of_the_bug(broken_pool):
    _, error = broken_pool

    assert "this is a bug of nbpar; please report it" in str(error)
    assert 'raise OSError("the way is gone")' in str(error)


def test_a_pool_that_nobody_closed_never_says_that_it_was_closed(broken_pool):
    pool, _ = broken_pool

    assert pool.broken
    assert not pool.closed
    assert not pool.failed
    with pytest.raises(InternalError, match="the next map makes new workers"):
        pool.launcher_before.dispatcher.admit(lambda: None)


def test_the_next_map_begins_anew(broken_pool):
    pool, _ = broken_pool

    assert pool.map(abs, [-1, -2]) == [1, 2]
    assert not pool.broken
    pool.close()
    with pytest.raises(PoolClosedError, match="the pool is closed"):
        pool.map(abs, [1])


def test_the_default_pool_begins_anew(monkeypatch):
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    with DefaultPool(2, "threads") as pool:
        break_way(pool)
        monkeypatch.setitem(_pools, "engines", pool)

        assert nbpar.map(abs, [-3], progress="none") == [3]
        assert not pool.broken
