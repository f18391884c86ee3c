"""Runs at a limited rate, on every kind of worker: no window has more begins than permitted."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import time
import weakref
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

import nbpar
from nbpar.errors import NbparError, StoppedError

NUMBER, SECONDS = 8, 0.4
RATE = (NUMBER, SECONDS)


def began(_):
    """Return when it began: all workers are on this host, and share a clock."""
    return time.monotonic()


def in_fullest_window(times):
    times = sorted(times)
    return max(
        sum(first <= time < first + SECONDS for time in times[place:]) for place, first in enumerate(times)
    )


@pytest.mark.parametrize("chunksize", ["auto", 1, 100])
def test_no_window_has_more_begins_than_permitted(pool, chunksize):
    times = pool.map(began, range(30), rate=RATE, chunksize=chunksize)

    assert in_fullest_window(times) <= NUMBER
    assert max(times) - min(times) >= 3 * SECONDS


@pytest.mark.parametrize("call", ["imap", "imap_unordered", "starmap", "map_async", "queue"])
def test_every_call_takes_a_rate(pool, call):
    if call == "starmap":
        times = pool.starmap(began, [(n,) for n in range(20)], rate=RATE)
    elif call == "map_async":
        times = pool.map_async(began, range(20), rate=RATE).get()
    elif call == "queue":
        with pool.queue(began, rate=RATE) as queue:
            for n in range(20):
                queue.put(n)
            times = [queue.get() for _ in range(20)]
    else:
        times = list(getattr(pool, call)(began, iter(range(20)), rate=RATE))

    assert len(times) == 20
    assert in_fullest_window(times) <= NUMBER


async def began_there(_):
    return time.monotonic()


def test_items_of_async_functions_keep_the_rate(pool):
    times = pool.map(began_there, range(30), rate=RATE)

    assert in_fullest_window(times) <= NUMBER
    assert max(times) - min(times) >= 3 * SECONDS


def test_retried_items_of_async_functions_keep_the_rate(pool, tmp_path):
    log = str(tmp_path / "log")

    async def flaky(n):
        at = time.monotonic()
        await asyncio.sleep(0)
        with open(log, "a") as file:  # noqa: PTH123 (it travels)
            file.write(f"{n} {at!r}\n")
        with open(log) as file:  # noqa: PTH123
            if sum(line.startswith(f"{n} ") for line in file) < 3:
                raise ValueError(n)
        return n

    assert pool.map(flaky, range(6), rate=RATE, retries=nbpar.Retry(2, first=0.0)) == list(range(6))

    times = [float(line.split()[1]) for line in (tmp_path / "log").read_text().splitlines()]
    assert len(times) == 18
    assert in_fullest_window(times) <= NUMBER


def test_async_items_that_last_longer_than_the_window_hold_no_others_up(pool):
    """The first two wait for an item that begins several windows later."""

    async def item(n, events={}):  # noqa: B006 (one for each worker)
        event = events.setdefault(0, asyncio.Event())
        if n == 9:
            event.set()
        elif n < 2:
            await event.wait()
        return n

    assert pool.map(item, range(10), rate=(2, 0.1), workers=1) == list(range(10))


def test_a_stage_has_a_rate_of_its_own(pool):
    stages = [nbpar.Stage(lambda n: n), nbpar.Stage(began, rate=RATE)]

    times = nbpar.Pipeline(stages, pool=pool).map(range(20))

    assert in_fullest_window(times) <= NUMBER


def test_retries_count_as_begins(pool, tmp_path):
    log = str(tmp_path / "log")

    def flaky(n):
        with open(log, "a") as file:  # noqa: PTH123 (it travels)
            file.write(f"{n} {time.monotonic()!r}\n")
        with open(log) as file:  # noqa: PTH123
            if sum(line.startswith(f"{n} ") for line in file) < 3:
                raise ValueError(n)
        return n

    assert pool.map(flaky, range(6), rate=RATE, retries=nbpar.Retry(2, first=0.0)) == list(range(6))

    lines = [line.split() for line in (tmp_path / "log").read_text().splitlines()]
    assert Counter(n for n, _ in lines) == {str(n): 3 for n in range(6)}
    assert in_fullest_window([float(at) for _, at in lines]) <= NUMBER


def test_several_runs_in_several_threads_share_a_rate(busy_pool, make_pool):
    rate, other = nbpar.Rate(RATE), make_pool(1)
    runs = [busy_pool, busy_pool, other]

    with ThreadPoolExecutor(3) as threads:
        results = list(threads.map(lambda pool: pool.map(began, range(10), rate=rate), runs))

    assert in_fullest_window([at for times in results for at in times]) <= NUMBER


def test_items_that_last_longer_than_the_window_hold_no_others_up(make_pool, kind, gate):
    """Their permits come back a window after they have begun, though they have no outcome."""
    if not kind.concurrent:
        pytest.skip("items run in the test's own thread")
    pool = make_pool(3)
    folder = gate

    def item(n):
        if n < 2:
            folder.wait()
        return n

    values = pool.imap_unordered(item, range(8), rate=(2, 0.1), chunksize=1)

    assert [next(values) for _ in range(6)] == [2, 3, 4, 5, 6, 7]
    gate.open()
    assert sorted(values) == [0, 1]


def test_workers_that_come_and_go_keep_the_rate(make_pool, kind):
    if not kind.concurrent:
        pytest.skip("there is one worker")
    pool = make_pool(1)
    run = pool.map_async(began, range(40), rate=RATE, chunksize=1)
    for number in (3, 1, 2):
        done = len(run.results())
        pool.resize(number)
        while len(run.results()) < min(done + NUMBER, 40):
            time.sleep(0.01)

    assert in_fullest_window(run.get()) <= NUMBER


def test_a_worker_that_is_killed_keeps_the_rate(make_pool, kind, tmp_path):
    if not kind.own_process:
        pytest.skip("items run in this process")
    log = str(tmp_path / "log")

    def item(n):
        with open(log, "a") as file:  # noqa: PTH123 (it travels)
            file.write(f"{n} {time.monotonic()!r}\n")
        with open(log) as file:  # noqa: PTH123
            if n == 5 and sum(line.startswith("5 ") for line in file) == 1:
                os.kill(os.getpid(), signal.SIGKILL)
        return n

    assert make_pool(2).map(item, range(20), rate=RATE, chunksize=1) == list(range(20))

    times = [float(line.split()[1]) for line in (tmp_path / "log").read_text().splitlines()]
    assert in_fullest_window(times) <= NUMBER


def test_a_run_says_that_its_rate_limits_it(busy_pool):
    run = busy_pool.map_async(began, range(10), rate=(2, 1000))
    while "next in" not in run.snapshot.note:
        time.sleep(0.01)

    assert run.snapshot.note.startswith("limited by rate 2 in 1000 s, next in ")
    run.cancel()
    with pytest.raises(StoppedError):
        run.get(timeout=60)
    assert run.snapshot.note == ""


def test_a_report_says_that_its_rate_has_limited_it(pool):
    results = pool.map(began, range(12), rate=(4, 0.2))

    assert any(finding.kind == "rate" for finding in results.report.advice)
    assert "limited by rate 4 in 0.2 s" in str(results.report)


def test_pause_and_resume_keep_the_rate(busy_pool):
    run = busy_pool.map_async(began, range(24), rate=RATE)
    for _ in range(3):
        run.pause()
        run.resume()

    assert in_fullest_window(run.get(timeout=60)) <= NUMBER


def test_a_pool_that_is_closed_gives_its_permits_back(make_pool, kind, gate):
    if not kind.concurrent:
        pytest.skip("items run in the test's own thread")
    rate = nbpar.Rate((2, 1.0))
    closed = make_pool(3)
    run = closed.map_async(lambda _: gate.wait(), range(4), rate=rate, chunksize=1)
    while run.snapshot.note == "":
        time.sleep(0.01)

    closed.close()
    gate.open()

    with pytest.raises(NbparError):
        run.get(timeout=60)
    assert make_pool(1).map(str, range(3), rate=rate) == ["0", "1", "2"]


def test_a_server_that_refuses_one_item_shuts_the_rate_for_all(pool, tmp_path):
    log = tmp_path / "log"

    def item(n, log=str(log)):
        with open(log, "a") as file:  # noqa: PTH123 (it travels)
            file.write(f"{n} {time.monotonic()!r}\n")
        with open(log) as file:  # noqa: PTH123
            if sum(1 for _ in file) == 1:
                error = ConnectionError("too many requests")
                error.status, error.retry_after = 429, 1.2
                raise error
        return n

    pool.map(item, range(4), rate=nbpar.Rate("50/s", burst=1), retries=1, chunksize=1)

    times = sorted(float(line.split()[1]) for line in log.read_text().splitlines())
    assert sum(at >= times[0] + 1.2 for at in times) >= 2


def test_what_a_run_leaves_holds_nothing(pool):
    class Thing:
        pass

    thing = Thing()
    gone = weakref.ref(thing)
    gc.disable()
    try:
        pool.map(id, [thing], rate=100)
        del thing
        assert nbpar.last_run is not None
        pool.map(str, [1])
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("wrong", ["fast", "10/fortnight", 0, -1, (0, 1), "10 / 0 s"])
def test_a_rate_that_is_none_is_refused(pool, wrong):
    for call in (lambda: pool.map(str, [1], rate=wrong), lambda: pool.queue(str, rate=wrong)):
        with pytest.raises(ValueError, match=r'rate must be "10/s", "500/min"'):
            call()
    with pytest.raises(ValueError, match=r'rate must be "10/s", "500/min"'):
        nbpar.Stage(str, rate=wrong)


def test_a_pipeline_says_where_its_rate_belongs(pool):
    with pytest.raises(TypeError, match="has no option 'rate'; give it to the Stage that it limits"):
        nbpar.Pipeline([nbpar.Stage(str)], pool=pool).map([1], rate=3)
    with pytest.raises(ValueError, match="rate= needs batched=False"):
        nbpar.Stage(str, rate=3, batched=True)
