"""Own SIGINT and the item timer: they stop a user's code and nothing else.

A signal raises only while `armed`, which it is around user code alone; each arming raises
once at most for SIGINT.  So an interrupt can never break an answer that is being written.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

from nbpar.errors import ItemTimeoutError

if TYPE_CHECKING:
    from typing_extensions import Self


ALARM_AGAIN = 0.2
"""Seconds after which an item that has swallowed the end of its time is told again."""


def can_limit() -> bool:
    """Whether a time limit can be set here: it takes the main thread and a system with timers."""
    return threading.current_thread() is threading.main_thread() and hasattr(signal, "setitimer")


class Interrupted(KeyboardInterrupt):
    """The client stopped the item that was running."""


class Overdue(BaseException):
    """What is thrown into an item whose time is over: no `except Exception` catches it."""


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
        self._seconds: float | None = None
        self._limited = False
        self._overdue = False

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before[signal.SIGINT] = signal.signal(signal.SIGINT, self._on_interrupt)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.armed = False
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def stop(self) -> None:
        """Interrupt the user's code in the main thread; from any thread of this process."""
        if signal.SIGINT in self._before:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

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
        """Throw `Overdue` into user code that takes longer than this, again and again until it ends."""
        self._seconds, self._overdue = seconds, False
        if seconds is None or not can_limit():
            yield
            return
        handler = signal.signal(signal.SIGALRM, self._on_alarm)
        begun = time.monotonic()
        left, every = signal.setitimer(signal.ITIMER_REAL, seconds, ALARM_AGAIN)
        try:
            try:
                self._limited = True
                yield
            finally:
                self._limited = False
        finally:  # an alarm may have struck between the last step of the item and the line above
            self._limited = False
            left = max(left - (time.monotonic() - begun), 1e-6) if left else 0.0
            signal.setitimer(signal.ITIMER_REAL, left, every)
            signal.signal(signal.SIGALRM, handler)

    def check_time(self) -> None:
        """Raise `Overdue` for an item that has come to its end after it was told to stop."""
        if self._overdue:
            raise Overdue

    def told(self, error: BaseException) -> BaseException:
        """Return what has failed an item: whatever it made of the end of its time, it was too slow."""
        if not self._overdue:
            return error
        self._overdue = False
        new = ItemTimeoutError(f"it took longer than timeout={self._seconds:g} s")
        new.__context__ = None if isinstance(error, Overdue) else error
        return new.with_traceback(error.__traceback__)

    def _on_interrupt(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self.armed:
            self.armed = self._was_armed = False
            raise Interrupted
        if self._shielded:
            self._missed = True

    def _on_alarm(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self._limited and self.armed and not _tidies_up(frame):
            self._overdue = True
            raise Overdue


def _tidies_up(frame: FrameType | None) -> bool:
    """Whether a signal came while a block is left; the next alarm comes soon enough."""
    return frame is not None and frame.f_globals.get("__name__") in (__name__, "contextlib")
