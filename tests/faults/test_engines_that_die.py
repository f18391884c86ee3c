"""Faults: an engine dies, at any time and in any way."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pathlib
import signal
import socket

import psutil
import pytest

import nbpar
from nbpar.cluster.direct import DirectAccess
from nbpar.testing import until

from .harm import has_controller

pytestmark = pytest.mark.engines

POISON = 7


def exits(item):
    if item == POISON:
        os._exit(3)
    return item


def is_killed(item):
    if item == POISON:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def crashes(item):
    if item == POISON:
        ctypes.string_at(0)
    return item


class DiesWhenSent:
    """An argument whose unpickling ends the process, on engines only."""

    def __init__(self, home):
        self.home = home

    def __setstate__(self, state):
        if os.getpid() != state["home"]:
            os._exit(4)
        self.__dict__.update(state)


class DiesWhenReturned:
    """A result whose pickling ends the process."""

    def __reduce__(self):
        os._exit(5)


@pytest.mark.parametrize(
    ("function", "reason"),
    [(exits, "exit code 3"), (is_killed, "SIGKILL"), (crashes, "SIGSEGV")],
    ids=["exits", "killed", "crashes"],
)
@pytest.mark.parametrize("chunksize", ["auto", 1, 5, 20])
def test_a_call_that_kills_costs_its_item_alone(pool, function, reason, chunksize):
    results = pool.map(function, range(20), chunksize=chunksize, errors="collect")

    [failure] = results.failures
    assert failure.index == POISON
    assert isinstance(failure.exception, nbpar.WorkerDied)
    assert (failure.exception.index, failure.exception.item) == (POISON, POISON)
    assert reason in failure.exception.reason
    assert [item for i, item in enumerate(results) if i != POISON] == [i for i in range(20) if i != POISON]


def test_a_killer_raises_worker_died_with_its_item(pool):
    with pytest.raises(nbpar.WorkerDied, match="item 7 killed its worker when it was tried again") as caught:
        pool.map(exits, range(20))

    assert caught.value.item == POISON


def test_an_argument_that_kills_when_it_is_loaded_costs_itself_alone(pool):
    items = [1, 2, DiesWhenSent(os.getpid()), 4]

    results = pool.map(lambda item: item if isinstance(item, int) else 0, items, errors="collect")

    assert [failure.index for failure in results.failures] == [2]
    assert isinstance(results.failures[0].exception, nbpar.WorkerDied)
    assert [results[i] for i in (0, 1, 3)] == [1, 2, 4]


def test_a_result_that_kills_when_it_is_pickled_costs_itself_alone(pool):
    results = pool.map(lambda item: DiesWhenReturned() if item == 1 else item, range(4), errors="collect")

    assert [failure.index for failure in results.failures] == [1]
    assert isinstance(results.failures[0].exception, nbpar.WorkerDied)
    assert [results[i] for i in (0, 2, 3)] == [0, 2, 3]


def test_a_function_that_kills_when_it_is_loaded_ends_the_run_clearly(pool):
    killer = DiesWhenSent(os.getpid())

    with pytest.raises((nbpar.WorkerDied, nbpar.NoWorkersError)):
        pool.map(lambda item: (item, killer), range(2))


def test_many_killers_cost_themselves_alone(pool):
    results = pool.map(lambda item: os._exit(1) if item % 5 == 2 else item, range(20), errors="collect")

    assert [failure.index for failure in results.failures] == [2, 7, 12, 17]
    assert [results[i] for i in range(20) if i % 5 != 2] == [i for i in range(20) if i % 5 != 2]


def spoils_its_connection(item):
    if item == POISON:
        for descriptor in pathlib.Path("/proc/self/fd").iterdir():
            with contextlib.suppress(OSError), socket.socket(fileno=os.dup(int(descriptor.name))) as copy:
                if copy.family == socket.AF_UNIX and "/pool-" in copy.getpeername():
                    copy.send(b"\xff" * 64)
    return item


def test_an_item_that_spoils_its_engines_connection_costs_itself_alone(pool, path):
    results = pool.map(spoils_its_connection, range(20), errors="collect", chunksize=5)

    values = [item for item in results if not isinstance(item, nbpar.Failure)]
    if path == "auto":
        assert [failure.index for failure in results.failures] == [POISON]
        assert isinstance(results.failures[0].exception, nbpar.WorkerDied)
        assert values == [item for item in range(20) if item != POISON]
    else:  # there is no such connection
        assert values == list(range(20))


def test_an_engine_killed_from_outside_costs_nothing(pool, tmp_path):
    started = tmp_path / "started"

    def slow_once(item):
        if item == 0 and not started.exists():
            started.write_text(str(os.getpid()))
            signal.pause()
        return item * 2

    run = pool.map_async(slow_once, range(10))
    until(lambda: started.exists() and started.read_text())
    os.kill(int(started.read_text()), signal.SIGKILL)

    assert run.get(60) == [item * 2 for item in range(10)]


def test_an_engine_that_goes_at_the_moment_it_is_entered_costs_nothing(pool, monkeypatch):
    import ipyparallel

    gone = [True] * 3
    way, name = (ipyparallel.Client, "__getitem__") if has_controller(pool) else (DirectAccess, "enter")
    found = getattr(way, name)

    def struck_off(access, key, *more):
        if gone:
            gone.pop()
            raise IndexError(f"No such engine: {key}")
        return found(access, key, *more)

    monkeypatch.setattr(way, name, struck_off)
    pool.restart()

    assert pool.map(abs, range(-9, 0)) == list(range(9, 0, -1))
    assert not gone


def test_an_item_that_ignores_interrupts_does_not_keep_its_engine(pool, tmp_path):
    stubborn = tmp_path / "stubborn"

    def ignores(item):
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        stubborn.write_text(str(os.getpid()))
        while True:
            signal.sigtimedwait([signal.SIGUSR1], 60)

    run = pool.map_async(ignores, [1])
    until(lambda: stubborn.exists() and stubborn.read_text())
    run.cancel()

    assert run.state == "stopped"
    assert len(set(pool.each(os.getpid))) == 2  # the one that is being killed is not asked
    until(lambda: not psutil.pid_exists(int(stubborn.read_text())))
