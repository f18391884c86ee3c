"""Own SIGINT and the item timer: they stop a user's code and nothing else.

A signal raises only while `armed`, which it is around user code alone; each arming raises
once at most.  So an interrupt can never break an answer that is being written.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

from nbpar.errors import ItemTimeoutError

if TYPE_CHECKING:
    from typing_extensions import Self


def can_limit() -> bool:
    """Whether a time limit can be set here: it takes the main thread and a system with timers."""
    return threading.current_thread() is threading.main_thread() and hasattr(signal, "setitimer")


class Interrupted(KeyboardInterrupt):
    """The client stopped the item that was running."""


class Interrupts:
    """SIGINT and SIGALRM of the main thread, for the length of a `with` block.

    In other threads it changes nothing: there `armed` has no effect, and items cannot be stopped.
    """

    def __init__(self) -> None:
        self.armed = False
        self._shielded = False
        self._missed = False
        self._was_armed = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before[signal.SIGINT] = signal.signal(signal.SIGINT, self._on_interrupt)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.armed = False
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    @contextmanager
    def shield(self) -> Iterator[None]:
        """Let no signal through in this block; one that came raises after it."""
        armed, self.armed = self.armed, False
        self._shielded, self._missed = True, False
        try:
            yield
        finally:
            self._shielded = False
            self.armed = armed and not self._missed
        if armed and self._missed:
            raise Interrupted

    def lower(self) -> None:
        """Note signals instead of raising, until `restore`; for shields that are used very often."""
        self._was_armed, self.armed = self.armed, False
        self._missed, self._shielded = False, True

    def restore(self) -> None:
        """Undo `lower`; a signal that came meanwhile raises now."""
        self._shielded = False
        self.armed = self._was_armed and not self._missed
        if self._was_armed and self._missed:
            self._missed = False
            raise Interrupted

    def expose(self) -> None:
        """Let signals raise again within `lower`, one that came before at once."""
        self.armed = self._was_armed
        if self.armed and self._missed:
            self.armed = self._missed = self._was_armed = False
            raise Interrupted

    @contextmanager
    def limit(self, seconds: float | None) -> Iterator[None]:
        """Raise `ItemTimeoutError` in user code that takes longer than this."""
        if seconds is None or not can_limit():
            yield
            return
        self._seconds = seconds
        before = signal.signal(signal.SIGALRM, self._on_alarm)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    def _on_interrupt(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self.armed:
            self.armed = self._was_armed = False
            raise Interrupted
        if self._shielded:
            self._missed = True

    def _on_alarm(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self.armed:
            raise ItemTimeoutError(f"it took longer than timeout={self._seconds:g} s")
