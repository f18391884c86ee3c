"""The user's Ctrl-C is distinguished from a KeyboardInterrupt that code raises."""

from __future__ import annotations

import functools
import signal
import threading

import pytest

from nbpar.errors import StoppedError
from nbpar.host.ctrl_c import may_be_ctrl_c


@pytest.fixture
def handle():
    """Set the handler of SIGINT for the length of the test."""
    before = signal.getsignal(signal.SIGINT)
    yield lambda handler: signal.signal(signal.SIGINT, handler)
    signal.signal(signal.SIGINT, before)


class Ours:
    armed = False

    def on_interrupt(self, *_):
        raise KeyboardInterrupt


def press():
    signal.raise_signal(signal.SIGINT)
    return list(range(10))


def told(act):
    with pytest.raises(BaseException) as caught:
        act()
    return may_be_ctrl_c(caught.value)


def test_a_signal_in_the_main_thread_is_ctrl_c():
    assert told(press)


def test_a_signal_stays_ctrl_c_when_it_is_raised_again():
    def again():
        try:
            press()
        finally:
            threading.get_ident()

    assert told(again)


class Quit(KeyboardInterrupt):
    pass


@pytest.mark.parametrize("error", [KeyboardInterrupt, Quit, StoppedError, SystemExit, ValueError])
def test_a_statement_is_no_ctrl_c(error):
    def act():
        raise error

    assert not told(act)


def test_what_other_threads_raise_is_no_ctrl_c():
    seen = []

    thread = threading.Thread(target=lambda: seen.append(told(stop)))
    thread.start()
    thread.join()

    assert seen == [False]


def stop():
    raise KeyboardInterrupt


def _call_pythons_own(*about):
    signal.default_int_handler(*about)


@pytest.mark.parametrize(
    "handler", [Ours().on_interrupt, functools.partial(Ours.on_interrupt, Ours())], ids=["method", "partial"]
)
def test_a_handler_written_in_python_strikes(handle, handler):
    handle(handler)

    assert told(press)
    assert not told(stop)


def test_handlers_of_other_libraries_that_call_pythons_own_strike(handle):
    handle(_call_pythons_own)

    assert told(press)
