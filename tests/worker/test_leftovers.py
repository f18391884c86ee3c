"""Changes that an item makes to its process are undone after it."""

from __future__ import annotations

import io
import os
import signal
import sys

import pytest

from nbpar.worker.cleanup import ItemCleanup, Leftovers


@pytest.fixture
def leftovers():
    return Leftovers(whole_process=True)


@pytest.fixture(autouse=True)
def as_before():
    """Leave the test's own process as it was."""
    numbers = signal.SIGUSR1, signal.SIGALRM, signal.SIGVTALRM, signal.SIGINT
    handlers, streams = [signal.getsignal(number) for number in numbers], (sys.stdout, sys.stderr)
    yield
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    for number, handler in zip(numbers, handlers, strict=True):
        signal.signal(number, handler)
    sys.stdout, sys.stderr = streams


def boom(*_):
    raise TimeoutError("late")


def test_a_timer_that_was_not_cancelled_strikes_nothing(leftovers):
    signal.signal(signal.SIGVTALRM, boom)
    signal.setitimer(signal.ITIMER_VIRTUAL, 3600)

    leftovers.clear()

    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0, 0)
    assert signal.getsignal(signal.SIGVTALRM) is not boom
    assert leftovers.seen


def test_a_signal_that_comes_when_its_item_is_over_does_nothing(leftovers):
    signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    leftovers.keep()
    signal.signal(signal.SIGUSR1, boom)

    leftovers.clear()
    os.kill(os.getpid(), signal.SIGUSR1)  # without a handler it would end the process

    leftovers.clear()
    os.kill(os.getpid(), signal.SIGUSR1)


def test_a_glance_after_a_very_short_item_finds_its_alarm(leftovers):
    aftermath = ItemCleanup(leftovers)
    signal.signal(signal.SIGALRM, boom)

    aftermath.glance(0)

    assert signal.getsignal(signal.SIGALRM) is not boom
    assert aftermath.seen


@pytest.mark.parametrize("by", ["SIG_IGN", "default_int_handler"])
def test_the_workers_own_handler_of_interrupts_comes_back_also_after_an_initializer(leftovers, by):
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, getattr(signal, by))

    leftovers.keep()

    assert signal.getsignal(signal.SIGINT) is before


def test_what_an_initializer_sets_stays(leftovers):
    signal.signal(signal.SIGUSR1, boom)

    leftovers.keep()
    leftovers.clear()

    assert signal.getsignal(signal.SIGUSR1) is boom
    assert not leftovers.seen


def test_streams_traces_and_the_recursion_limit_come_back(leftovers):
    before = sys.stdout, sys.gettrace(), sys.getprofile(), sys.getrecursionlimit()
    sys.stdout = io.StringIO()
    sys.setprofile(lambda *_: None)
    sys.setrecursionlimit(before[3] + 1)

    leftovers.clear()

    assert (sys.stdout, sys.gettrace(), sys.getprofile(), sys.getrecursionlimit()) == before


def test_a_worker_that_shares_its_process_leaves_signals_and_streams_alone():
    leftovers = Leftovers(whole_process=False)
    sys.stdout = mine = io.StringIO()
    signal.signal(signal.SIGALRM, boom)

    leftovers.clear()

    assert (sys.stdout, signal.getsignal(signal.SIGALRM)) == (mine, boom)
