"""Libraries of time limits end only the item that uses them, on every backend.

They throw an exception into the item's thread, from a timer (stopit) or by SIGALRM
(timeout-decorator), or run the function in another thread (func_timeout) or process.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import signal
import threading
import time

import pytest

from nbpar import Failure

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(autouse=True)
def usable_again(pool):
    yield
    assert pool.map(abs, range(-5, 0)) == [5, 4, 3, 2, 1]


def make_limits():  # noqa: C901 (all in one function, which travels)
    """Return what limits the time of a block, by name."""

    class Over(Exception):
        pass

    def for_ever():
        while True:
            time.monotonic()

    def throw(ident):
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), ctypes.py_object(Over))

    def by_a_timer():
        timer = threading.Timer(0.05, throw, [threading.get_ident()])
        timer.start()
        try:
            for_ever()
        finally:
            timer.cancel()

    def by_another_thread():
        begun = threading.Event()

        def work():
            try:
                begun.set()
                for_ever()
            except Over:
                pass

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        begun.wait(60)
        thread.join(0.05)
        throw(thread.ident)
        thread.join()
        raise Over

    def by_a_signal():
        def over(*_):
            raise Over

        before = signal.signal(signal.SIGALRM, over)
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        try:
            for_ever()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    def by_another_process():
        process = multiprocessing.get_context("fork").Process(target=for_ever)
        process.start()
        process.join(0.05)
        process.kill()
        process.join()
        raise Over

    return {
        "timer": by_a_timer,
        "thread": by_another_thread,
        "signal": by_a_signal,
        "process": by_another_process,
    }


@pytest.mark.parametrize("how", ["timer", "thread", "signal", "process"])
@pytest.mark.parametrize("timeout", [None, 60], ids=["alone", "beside ours"])
def test_it_ends_its_item_alone(pool, kind, how, timeout):
    if timeout and kind.options.get("backend") == "threads":
        pytest.skip("a thread's items have no limit of ours")
    limits = make_limits()

    def limited(n):
        return limits[how]() if n == 2 else n

    results = pool.map(limited, range(5), timeout=timeout, errors="collect")

    assert [result for result in results if type(result) is int] == [0, 1, 3, 4]
    assert isinstance(results[2], Failure)
    in_main_thread = kind.options.get("backend") != "threads"
    wanted = "Over" if in_main_thread or how != "signal" else "ValueError"
    assert type(results[2].exception).__name__ == wanted
