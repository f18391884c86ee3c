"""Items that need a share of their host, on every kind of worker: no more are under way than fit."""

from __future__ import annotations

import asyncio
import time

import pytest

import nbpar
from nbpar.core.scheduling.needs import Needs
from nbpar.dispatch import hosts
from nbpar.host.limits import HostLimits
from nbpar.testing import Gate, until

GB = 10**9
ALL = {"memory": "3GB"}
"""What only one item at a time has room for."""


@pytest.fixture(autouse=True)
def _small_host(monkeypatch):
    monkeypatch.setattr(hosts, "limits_here", lambda: HostLimits("", 4 * GB, 2))


def spans(_):
    """Return when it began and ended: all workers are on this host, and share a clock."""
    began = time.monotonic()
    time.sleep(0.005)
    return began, time.monotonic()


async def waits(_):
    began = time.monotonic()
    await asyncio.sleep(0.005)
    return began, time.monotonic()


def most_at_once(times):
    return max(sum(begin <= at < end for begin, end in times) for at, _ in times)


CALLS = {
    "map": lambda pool, items: pool.map(spans, items, needs=ALL, chunksize=1),
    "chunks": lambda pool, items: pool.map(spans, items, needs=ALL),
    "starmap": lambda pool, items: pool.starmap(spans, [(n,) for n in items], needs=ALL),
    "imap": lambda pool, items: pool.imap(spans, iter(items), needs=ALL),
    "imap_unordered": lambda pool, items: pool.imap_unordered(spans, iter(items), needs=ALL),
    "map_async": lambda pool, items: pool.map_async(spans, items, needs=ALL).get(),
    "submit": lambda pool, items: [f.result() for f in [pool.submit(spans, n, needs=ALL) for n in items]],
    "executor": lambda pool, items: pool.executor(needs=ALL).map(spans, items),
    "async": lambda pool, items: pool.map(waits, items, needs=ALL),
    "submitted coroutines": lambda pool, items: [
        f.result() for f in [pool.submit(waits, n, needs=ALL) for n in items]
    ],
}


@pytest.mark.parametrize("call", CALLS)
def test_no_more_items_are_under_way_than_fit(pool, call):
    times = list(CALLS[call](pool, range(12)))

    assert len(times) == 12
    assert most_at_once(times) == 1


def test_a_queue_takes_needs(pool):
    with pool.queue(spans, needs=ALL) as queue:
        for n in range(8):
            queue.put(n)
        times = [queue.get() for _ in range(8)]

    assert most_at_once(times) == 1


def test_as_many_are_under_way_as_fit(busy_pool, tmp_path):
    gate = Gate()

    run = busy_pool.map_async(lambda _: gate.wait(), range(2), needs={"memory": "2GB", "cores": 1})

    gate.until_waiting(2)
    gate.open()
    run.get()


def test_what_never_fits_is_refused(pool):
    with pytest.raises(ValueError, match=r"an item needs 64 GB, this host has 4\.0 GB"):
        pool.map(spans, range(3), needs={"memory": "64GB"})

    assert pool.map(abs, [-1]) == [1]


def test_a_submitted_call_that_never_fits_fails(pool):
    with pytest.raises(ValueError, match="an item needs 3 cores, this host has 2"):
        pool.submit(spans, 1, needs={"cores": 3}).result()


def test_pools_share_the_host(busy_pool):
    gate, begun = Gate(), []
    run = busy_pool.map_async(lambda _: gate.wait(), range(1), needs=ALL)
    gate.until_waiting(1)

    with nbpar.Pool(1, backend="threads", progress="none") as other:
        second = other.map_async(begun.append, [1], needs=ALL)
        free = other.map_async(lambda n: n, [2], needs={"memory": "1KB"})
        assert other.map(abs, [-3]) == [3]
        assert begun == []
        gate.open()
        second.get()
        free.get()

    run.get()
    assert begun == [1]


def test_an_item_does_not_wait_for_its_own_share(pool):
    def outer(n):
        return nbpar.map(abs, [-n], needs=ALL)

    assert pool.map(outer, [1, 2], needs=ALL) == [[1], [2]]


def test_what_was_stopped_holds_nothing(busy_pool):
    gate = Gate()
    run = busy_pool.map_async(lambda _: gate.wait(), range(4), needs=ALL)
    gate.until_waiting(1)
    run.cancel()
    gate.open()

    host = hosts.this_host()
    until(lambda: not host._used[Needs.of(ALL)])
    assert busy_pool.map(abs, [-1], needs=ALL) == [1]


def with_needs(n, needs):
    return n, needs


def test_a_function_keeps_a_parameter_of_that_name(pool):
    assert pool.submit(with_needs, 1, needs="mine").result() == (1, "mine")
    assert pool.executor().submit(with_needs, 1, needs="mine").result() == (1, "mine")


def test_a_stage_takes_needs(pool):
    pipeline = nbpar.Pipeline([nbpar.Stage(abs), nbpar.Stage(spans, needs=ALL)], pool=pool)

    assert most_at_once(pipeline.map(range(12), progress="none")) == 1
