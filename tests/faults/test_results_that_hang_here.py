"""A result, or an error, whose own code does not return when it is unpickled in this process."""

from __future__ import annotations

import os
import signal
import threading

import pytest
from user_code import WaitsElsewhere

import nbpar
from nbpar.testing import Gate, until

pytestmark = pytest.mark.engines


class ErrorThatHangsHere(Exception):
    """An exception that does."""

    def __init__(self, gate):
        super().__init__(gate)
        self.value = WaitsElsewhere(gate)


def fail(gate):
    raise ErrorThatHangsHere(gate)


@pytest.fixture(autouse=True)
def usable_again():
    """Replace the check of the pool that other tests here share."""


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    gate.open()


@pytest.fixture
def pool():
    with nbpar.Pool(2, progress="none") as pool:
        yield pool.wait()


STUCK = {
    "result": lambda pool, gate: pool.map_async(lambda _: WaitsElsewhere(gate), [0]),
    "error": lambda pool, gate: pool.map_async(lambda _: fail(gate), [0]),
    "stream": lambda pool, gate: _begun(pool.imap(lambda _: WaitsElsewhere(gate), [0])),
    "pipeline": lambda pool, gate: nbpar.Pipeline([lambda _: WaitsElsewhere(gate)], pool=pool).map_async([0]),
}


def _begun(values):
    run = nbpar.last_run
    run.values = values  # dropping it would stop the run
    return run


@pytest.mark.parametrize("what", STUCK)
def test_cancel_ends_the_run_and_the_next_map_has_new_workers(pool, gate, what):
    run = STUCK[what](pool, gate)
    gate.until_waiting()

    run.cancel()

    assert run.done
    assert run.state == "stopped"
    assert not gate.is_open
    with pytest.raises(nbpar.StoppedError, match="was stopped"):
        run.get()
    assert pool.map(abs, [-1, -2]) == [1, 2]
    gate.open()
    assert pool.map(abs, [-3]) == [3]
    assert run.results() == []
    assert run.state == "stopped"


def test_the_button_ends_it_too(pool, gate):
    run = STUCK["result"](pool, gate)
    gate.until_waiting()

    run.request_stop()

    until(lambda: run.done)
    assert run.state == "stopped"


def test_ctrl_c_keeps_what_was_finished(pool, gate):
    late = Gate()

    def result_of(n):
        if n < 3:
            return n
        late.wait()
        return WaitsElsewhere(gate)

    def interrupt():
        until(lambda: nbpar.last_run.counts == (3, 0))
        late.open()
        gate.until_waiting()
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(nbpar.StoppedError, match=r"finished results \(3\) are in nbpar.last_run.results"):
        pool.map(result_of, range(8), chunksize=1)
    thread.join()

    assert nbpar.last_run.results() == [0, 1, 2]


def test_another_run_of_the_pool_can_be_stopped_as_well(pool, gate):
    other = pool.map_async(lambda n: n, iter(int, 1))
    until(lambda: other.snapshot.done > 10)
    STUCK["result"](pool, gate)
    gate.until_waiting()

    other.cancel()

    assert other.state == "stopped"
    assert len(other.results()) > 10


def test_code_that_returns_after_all_costs_the_pool_nothing(pool, gate):
    engines = sorted(pool.each(os.getpid))
    run = STUCK["result"](pool, gate)
    gate.until_waiting()

    run.cancel()
    gate.open()

    assert sorted(pool.each(os.getpid)) == engines
    assert run.state == "stopped"
    assert not pool.broken


def test_other_runs_of_the_pool_are_told_why_their_workers_are_lost(pool, gate):
    run = STUCK["result"](pool, gate)
    gate.until_waiting()
    other = pool.map_async(abs, [-1])

    run.cancel()
    assert pool.map(abs, [-2]) == [2]

    with pytest.raises(nbpar.ClusterError, match="code that runs when a result is unpickled does not return"):
        other.get(60)
