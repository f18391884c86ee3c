"""Misbehavior of user code, wherever it is called: in `__repr__`, `__str__`, `__reduce__`, in properties."""

from __future__ import annotations

import os
import signal


def leave(*_):
    """End the program, as far as it is concerned."""
    raise SystemExit("I leave")


def press_ctrl_c(*_):
    """Be at work when the user presses Ctrl-C; to be called in the main thread."""
    signal.raise_signal(signal.SIGINT)
    return list(range(10))  # the exception is here at the latest


class WaitsElsewhere:
    """A value that waits for a gate when another process than that of its making unpickles it."""

    def __init__(self, gate):
        self.gate, self.home = gate, os.getpid()

    def __setstate__(self, state):
        self.__dict__.update(state)
        if os.getpid() != self.home:
            self.gate.wait()


BUFFER = [0, [0]]
"""A list that a function of a module refills for each item."""


def refill(n):
    """Return the module's own list, with a number in it."""
    BUFFER[0] = BUFFER[1][0] = n
    return BUFFER


async def refill_soon(n):
    """Likewise, as a coroutine."""
    return refill(n)
