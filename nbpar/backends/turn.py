"""Whose turn it is to read what engines say."""

from __future__ import annotations

import threading


class Turn:
    """The pool's thread has it, except while it sleeps; meanwhile any thread may borrow it for a moment.

    What one has read is dealt with before another reads, so everything stays in order.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()
        self.wanted = False
        """The pool's thread has woken: whoever has borrowed it gives it back at once."""

    def lay_down(self) -> None:
        """The pool's thread goes to sleep."""
        self.wanted = False
        self._lock.release()

    def take_up(self) -> None:
        """The pool's thread is awake."""
        self.wanted = True
        self._lock.acquire()

    def borrow(self) -> bool:
        """Take it, if the pool's thread sleeps and nobody else has it."""
        return not self.wanted and self._lock.acquire(blocking=False)

    def give_back(self) -> None:
        """End a loan."""
        self._lock.release()
