"""An item of a thread is interrupted; nothing else that the thread does."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from nbpar.testing import until
from nbpar.worker.signals import Interrupted
from nbpar.worker.thread_interrupts import ThreadInterrupts

LIMIT = 60.0


@pytest.fixture
def run():
    """Run a function in a thread of its own; returns the interrupts, and what waits for its result."""

    def run(body):
        interrupts, results, ready = ThreadInterrupts(), [], threading.Event()

        def main():
            with interrupts:
                ready.set()
                try:
                    results.append(body(interrupts))
                except BaseException as error:
                    results.append(error)

        thread = threading.Thread(target=main)
        thread.start()
        ready.wait(LIMIT)

        def result():
            thread.join(LIMIT)
            return results[0]

        return interrupts, result

    return run


def test_code_is_interrupted_while_it_is_armed(run):
    def endless(interrupts):
        interrupts.armed = True
        while True:
            pass

    interrupts, result = run(endless)
    until(interrupts.strike, LIMIT)

    assert type(result()) is Interrupted


def test_code_that_is_not_armed_is_left_alone(run):
    done = threading.Event()

    interrupts, result = run(lambda _: done.wait(LIMIT))

    assert not interrupts.strike()
    done.set()
    assert result() is True


def test_what_comes_too_late_hits_nothing_else(run):
    switch = sys.getswitchinterval()

    def quick(interrupts):
        interrupts.armed = True
        lock.acquire()  # in C, where it cannot be met
        interrupts.armed = False
        return sum(range(1000))

    lock = threading.Lock()
    lock.acquire()
    interrupts, result = run(quick)
    until(interrupts.strike, LIMIT)
    sys.setswitchinterval(1e-6)
    try:
        lock.release()
        outcome = result()
    finally:
        sys.setswitchinterval(switch)

    assert outcome == sum(range(1000)) or type(outcome) is Interrupted  # it may be met at the return


def test_it_strikes_once(run):
    def caught_once(interrupts):
        interrupts.armed = True
        try:
            while True:
                pass
        except BaseException as error:
            return interrupts.made(error), interrupts.armed

    interrupts, result = run(caught_once)
    until(interrupts.strike, LIMIT)

    assert result() == (True, False)
    assert not interrupts.strike()


STRUCK = """
import sys, threading
from nbpar.worker.signals import Interrupted
from nbpar.worker.thread_interrupts import ThreadInterrupts

def main():
    with ThreadInterrupts() as interrupts:
        interrupts.armed = True
        try:
            interrupts.strike()
        except Interrupted as error:
            interrupts.made(error)

thread = threading.Thread(target=main)
thread.start()
thread.join()
sys.settrace(lambda *_: None)
(lambda: None)()
print("went on")
"""


def test_traced_code_goes_on_after_an_interrupt():
    # Python 3.11 looks for a pending exception forever when one was withdrawn by raising NULL
    done = subprocess.run(
        [sys.executable, "-c", STRUCK], check=False, capture_output=True, text=True, timeout=LIMIT
    )

    assert done.stdout == "went on\n", done.stderr
