"""Faults: timers, threads and signals of a finished item, or of one that interrupts its own worker."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time
import warnings

import pytest

import nbpar
from nbpar import Failure, ItemExitedError, StoppedError, StrayExceptionWarning
from nbpar.testing import Gate, until

pytestmark = pytest.mark.engines


def boom(*_):
    raise TimeoutError("late")


def leave_an_alarm(n):
    if n == 3:
        signal.signal(signal.SIGALRM, boom)
        signal.setitimer(signal.ITIMER_REAL, 0.3)  # long against what is left of the item
    return n


def pids(pool):
    return {facts["pid"] for facts in pool.workers}


def test_an_alarm_that_was_not_cancelled_strikes_neither_the_loop_nor_another_item(pool):
    before = pids(pool)

    for _ in range(3):
        assert pool.map(leave_an_alarm, range(4)) == list(range(4))
        assert pool.map(time.sleep, [0.3] * 4, chunksize=1) == [None] * 4
        assert pool.map(abs, range(4)) == list(range(4))

    assert pids(pool) == before


def test_an_exception_that_a_thread_raises_between_two_items_is_dropped_and_told(pool, tmp_path):
    gate, struck = Gate(str(tmp_path)), tmp_path / "struck"

    def leave_a_thread(_):
        main = threading.main_thread().ident

        def strike():
            gate.wait()
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(main), ctypes.py_object(TimeoutError))
            struck.touch()

        threading.Thread(target=strike, daemon=True).start()
        return os.getpid()

    before = pids(pool)
    channels = pool.remote_exec(lambda channel: channel.receive(), thread=True)  # their engines stay
    assert pool.map(leave_a_thread, [0])[0] in before
    gate.open()
    until(struck.exists)

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert set(pool.each(os.getpid)) == before

    assert [warning.category for warning in told] == [StrayExceptionWarning]
    assert "TimeoutError:  was raised between two items and dropped" in str(told[0].message)
    channels.send_each(None)


SIGNALING = {
    "os.kill": lambda: os.kill(os.getpid(), signal.SIGINT) or time.sleep(5),
    "raise_signal": lambda: signal.raise_signal(signal.SIGINT),
    "interrupt_main": lambda: __import__("_thread").interrupt_main() or time.sleep(5),
}


@pytest.mark.parametrize("way", SIGNALING)
@pytest.mark.parametrize("options", [{}, {"chunksize": 8}, {"timeout": 30}], ids=str)
def test_an_item_that_interrupts_itself_fails_once(pool, tmp_path, way, options):
    begun, signaling = tmp_path / "begun", SIGNALING[way]

    def interrupt_yourself(n):
        if n == 3:
            with begun.open("a") as file:
                file.write("x")
            signaling()
        return n

    results = pool.map(interrupt_yourself, range(8), errors="collect", **options)

    failed = results[3]
    assert [n for n in results if not isinstance(n, Failure)] == [0, 1, 2, 4, 5, 6, 7]
    assert isinstance(failed.exception, ItemExitedError)
    assert "interrupted by SIGINT although its run was not stopped" in str(failed.exception)
    assert "interrupt_yourself" in failed.traceback
    assert begun.read_text() == "x"


def test_stop_still_works_when_an_item_has_interrupted_itself(pool):
    def interrupt_yourself(n):
        signal.raise_signal(signal.SIGINT)

    failures = pool.map(interrupt_yourself, range(4), errors="collect").failures
    assert len(failures) == 4

    run = pool.map_async(time.sleep, [60] * 4)
    until(lambda: any("runs" in facts for facts in pool.workers))
    run.cancel()
    with pytest.raises(StoppedError):
        run.get()
    assert pool.map(abs, [-1]) == [1]


def test_a_batch_in_which_an_item_interrupts_itself_loses_that_one_alone(pool, tmp_path):
    def batch(numbers):
        for n in numbers:
            if n == 3:
                signal.raise_signal(signal.SIGINT)
        return [n * 2 for n in numbers]

    stage = nbpar.Stage(batch, batched=True)
    with nbpar.Pipeline([stage], batch_size=4, pool=pool) as pipeline:
        results = pipeline.map(range(8), errors="collect", progress="none")

    assert [n for n in results if not isinstance(n, Failure)] == [0, 2, 4, 8, 10, 12, 14]
