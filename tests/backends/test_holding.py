"""Operations that Ctrl-C must not interrupt halfway."""

import signal
import threading

import pytest

from nbpar.host.deferred_sigint import hold


def test_an_interrupt_in_a_held_block_takes_effect_at_its_end():
    done = []

    def interrupted():
        with hold:
            signal.raise_signal(signal.SIGINT)
            with hold:
                done.append("inner")
            done.append("outer")

    with pytest.raises(KeyboardInterrupt):
        interrupted()

    assert done == ["inner", "outer"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_thread_holds_nothing_back():
    during = []

    def held():
        with hold:
            during.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=held)
    thread.start()
    thread.join(30)

    assert during == [signal.default_int_handler]
