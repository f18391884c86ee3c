"""Engines of a default pool end after some time without work, and come back with the next call."""

from __future__ import annotations

import math
import os
import threading

import psutil
import pytest

import nbpar
from nbpar.pool import defaults
from nbpar.pool.defaults import DefaultPool
from nbpar.pool.idle import IdleChoice, IdleLimit, IdleTime, idle_choice
from nbpar.testing import FakeClock, Gate, until

LIMIT = IdleLimit(15.0, "")


def looks(idle, clock, number, *, busy=False):
    """Look at a time once a minute; return what the last look said."""
    said = False
    for _ in range(number):
        clock.advance(60)
        said = idle.is_over(clock(), LIMIT, busy=busy)
    return said


def test_the_time_without_work_adds_up_and_begins_anew_with_work():
    clock = FakeClock()
    idle = IdleTime(0.0)

    assert not looks(idle, clock, 14)
    assert not looks(idle, clock, 1, busy=True)
    assert not looks(idle, clock, 14)
    assert looks(idle, clock, 1)


def test_time_in_which_the_machine_slept_counts_as_one_pause():
    clock = FakeClock()
    idle = IdleTime(0.0)

    clock.advance(8 * 3600)

    assert not idle.is_over(clock(), LIMIT, busy=False)


def test_time_never_ends_where_the_limit_is_infinite():
    assert not IdleTime(0.0).is_over(1e12, IdleLimit(math.inf, ""), busy=False)


@pytest.mark.parametrize(
    ("variable", "chosen", "limit"),
    [
        (None, None, (15, "")),
        ("4", None, (4, "NBPAR_IDLE_MINUTES")),
        ("0", None, (math.inf, "NBPAR_IDLE_MINUTES")),
        ("soon", None, (15, "")),
        ("4", 2.5, (2.5, "here")),
        ("4", 0, (math.inf, "here")),
    ],
)
def test_the_limit_is_what_was_chosen_else_the_environments_else_15_minutes(variable, chosen, limit):
    choice = IdleChoice()

    choice.choose(chosen, "here")

    assert choice.limit({} if variable is None else {"NBPAR_IDLE_MINUTES": variable}) == limit


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def pool(clock, monkeypatch):
    """The default pool, at which nothing but the test looks."""
    monkeypatch.setattr(defaults, "watch", lambda pool: None)
    defaults.close_default_pools()
    defaults._pools["engines"] = pool = DefaultPool(1, "engines", clock=clock)
    yield pool
    defaults.close_default_pools()


def minutes_pass(pool, clock, number=20):
    for _ in range(number):
        clock.advance(60)
        pool.look()


@pytest.mark.engines
def test_engines_without_work_end_and_the_next_map_has_others(pool, clock, monkeypatch):
    monkeypatch.setenv("NBPAR_IDLE_MINUTES", "2")
    pool.resize(2)
    before = set(nbpar.map(lambda _: os.getpid(), range(4), chunksize=1))

    minutes_pass(pool, clock)
    assert not any(map(psutil.pid_exists, before))
    assert (pool.workers, pool.awaited, pool.broken, pool.failed, pool.closed) == (
        [],
        "",
        False,
        False,
        False,
    )
    assert pool.notice == "engines ended after 2 minutes without work; the next map starts them"
    assert defaults.notices() == [pool.notice]

    assert not before & set(nbpar.map(lambda _: os.getpid(), range(4), chunksize=1))
    assert (len(pool.workers), pool.size, defaults.notices()) == (2, 2, [])
    assert defaults.default_pool() is pool


@pytest.mark.engines
def test_a_call_that_waits_while_the_engines_end_has_new_ones(pool, clock, monkeypatch):
    nbpar.map(abs, [1])
    closing, gate = threading.Event(), Gate()
    close = type(pool._keeper).close

    def slowly(keeper, *args):
        closing.set()
        gate.wait()
        close(keeper, *args)

    monkeypatch.setattr(type(pool._keeper), "close", slowly)
    ending = threading.Thread(target=minutes_pass, args=(pool, clock))
    results = []
    ending.start()
    closing.wait(60)
    caller = threading.Thread(target=lambda: results.extend(nbpar.map(abs, [-1])))
    caller.start()
    gate.open()
    caller.join(60)
    ending.join(60)

    assert results == [1]


def running(pool, gate):
    return pool.map_async(lambda _: gate.wait(), [1])


def streaming(pool, gate):
    stream = pool.imap(abs, iter(int, 1), buffersize=2)
    next(stream)
    return stream


def queueing(pool, gate):
    queue = pool.queue(abs)
    queue.put(-1)
    queue.get()
    return queue


@pytest.mark.engines
@pytest.mark.parametrize("begin", [running, streaming, queueing])
def test_engines_with_something_under_way_stay(pool, clock, begin):
    gate = Gate()
    under_way = begin(pool, gate)

    minutes_pass(pool, clock)

    assert not pool.resting
    gate.open()
    close = getattr(under_way, "close", None) or under_way.get
    close()
    until(lambda: pool._keeper.launcher.dispatcher.idle)
    minutes_pass(pool, clock)
    assert pool.resting


def keep_by_each(pool):
    pool.each(setattr, math, "kept", 1)


def keep_by_channel(pool):
    pool.remote_exec("channel.send(1)").receive_each()


@pytest.mark.engines
@pytest.mark.parametrize("keep", [keep_by_each, keep_by_channel])
def test_engines_where_values_may_be_kept_stay_until_they_are_restarted(pool, clock, keep):
    keep(pool)
    minutes_pass(pool, clock)
    assert not pool.resting

    pool.restart()
    pool.wait()
    minutes_pass(pool, clock)
    assert pool.resting


@pytest.mark.engines
def test_engines_to_which_ipyparallels_client_was_used_count_as_having_values():
    with nbpar.Pool(1, path="controller") as pool:
        pool.map(abs, [1])
        place = pool._place
        assert not place.used_by_others()

        place._cluster.client[:].apply_sync(os.getpid)

        assert place.used_by_others()


@pytest.mark.engines
def test_the_pools_own_thread_ends_the_engines(monkeypatch):
    defaults.close_default_pools()
    monkeypatch.setattr("nbpar.pool.idle.SHORTEST", 0.01)
    nbpar.map(abs, [1], workers=1)
    idle_choice.choose(1e-4, "the test")
    try:
        pool = defaults._pools["engines"]
        defaults.watch(pool)  # the first thread is in its first pause, of a minute
        until(lambda: pool.resting)
    finally:
        idle_choice.choose(None, "")
        defaults.close_default_pools()
