"""SIGINT and the item timer: stop user code only.

A signal raises only while `armed`, which is only around user code; each arming raises
at most once for SIGINT.  So an interrupt can never corrupt an answer that is being written.
"""

from __future__ import annotations

import _thread
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import FrameType
from typing import TYPE_CHECKING, Any

from nbpar.errors import ItemTimeoutError

if TYPE_CHECKING:
    from typing_extensions import Self

ALARM_AGAIN = 0.2
"""Seconds after which `Overdue` is raised again in an item that has swallowed it."""


def can_limit() -> bool:
    """Whether a time limit can be set here, which takes the main thread and a system with timers."""
    return threading.current_thread() is threading.main_thread() and hasattr(signal, "setitimer")


class Interrupted(KeyboardInterrupt):
    """The client stopped the item that was running."""


class Overdue(BaseException):
    """Raised into an item that exceeds its time limit; `except Exception` does not catch it."""


def _tell_nobody(running: bool) -> None:
    """Do nothing: the client does not kill workers of this kind."""


class Interrupts:
    """Handlers of SIGINT and SIGALRM in the main thread, for the duration of a `with` block.

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
        self._untimed = 0.0
        """Seconds since the limit was set that do not count."""

        self._tell_running: Callable[[bool], None] = _tell_nobody
        self.instead: Callable[[], None] | None = None
        """Called in place of raising, while an event loop runs items."""

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before[signal.SIGINT] = signal.signal(signal.SIGINT, self._on_interrupt)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.armed = False
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def made(self, error: BaseException) -> bool:
        """Whether an exception that comes out of the user's code is an interrupt, and not the code's own."""
        return isinstance(error, Interrupted)

    def stop(self) -> None:
        """Interrupt user code in the main thread; from any thread of this process."""
        if signal.SIGINT not in self._before:
            return
        if hasattr(signal, "pthread_kill"):
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        else:  # Windows, where code that waits in C is not woken
            _thread.interrupt_main(signal.SIGINT)

    @contextmanager
    def shield(self) -> Iterator[None]:
        """Defer signals in this block; one that arrived raises after it."""
        armed, self.armed = self.armed, False
        self._shielded, self._missed = True, False
        try:
            yield
        finally:
            self._shielded = False
            self.armed = armed and not self._missed
        if armed and self._missed:
            raise Interrupted

    def reset(self) -> None:
        """Defer signals from now on, as in the beginning."""
        self.armed = self._was_armed = self._shielded = self._missed = False

    def lower(self) -> None:
        """Record signals instead of raising, until `restore`; for shields that are used very often."""
        self._was_armed, self.armed = self.armed, False
        self._missed, self._shielded = False, True

    def restore(self) -> None:
        """Undo `lower`; a signal received meanwhile raises now."""
        self._shielded = False
        self.armed = self._was_armed and not self._missed
        if self._was_armed and self._missed:
            self._missed = False
            raise Interrupted

    def expose(self) -> None:
        """Let signals raise again within `lower`; an earlier one raises at once."""
        self.armed = self._was_armed
        if self.armed and self._missed:
            self.armed = self._missed = self._was_armed = False
            raise Interrupted

    @contextmanager
    def limit(
        self, seconds: float | None, tell_running: Callable[[bool], None] = _tell_nobody
    ) -> Iterator[None]:
        """Throw `Overdue` into user code that takes longer than this, again and again until it ends.

        `tell_running` is told when the time of that code stands still, or goes on.
        """
        global _limiting
        self._tell_running = tell_running
        self._seconds, self._overdue, self._untimed = seconds, False, 0.0
        if seconds is None or not can_limit():
            yield
            return
        outer, handler = _limiting, signal.signal(signal.SIGALRM, self._on_alarm)
        begun = time.monotonic()
        left, every = signal.setitimer(signal.ITIMER_REAL, seconds, ALARM_AGAIN)
        try:
            try:
                self._limited, _limiting = True, self
                yield
            finally:
                self._limited, _limiting = False, outer
        finally:  # an alarm may have struck between the last step of the item and the line above
            self._limited = False
            took = time.monotonic() - begun
            own = took - self._untimed
            self._overdue = self._overdue or own > seconds  # the item may have used the timer for itself
            left = max(left - took, 1e-6) if left else 0.0
            signal.setitimer(signal.ITIMER_REAL, left, every)
            signal.signal(signal.SIGALRM, handler)

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Let the time stand still in this block."""
        begun = time.monotonic()
        left, every = signal.setitimer(signal.ITIMER_REAL, 0.0)
        try:
            self._tell_running(False)
            yield
        finally:
            self._untimed += time.monotonic() - begun
            signal.setitimer(signal.ITIMER_REAL, left, every)
            self._tell_running(True)

    def check_time(self) -> None:
        """Raise `Overdue` for an item that has ended after its time limit."""
        if self._overdue:
            raise Overdue

    def told(self, error: BaseException) -> BaseException:
        """Return the failure of an item: if its time was over, a timeout, whatever it raised."""
        if not self._overdue:
            return error
        self._overdue = False
        new = ItemTimeoutError(f"it took longer than timeout={self._seconds:g} s")
        new.__context__ = None if isinstance(error, Overdue) else error
        return new.with_traceback(error.__traceback__)

    def _on_interrupt(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self.instead is not None:
            self.instead()
        elif self.armed:
            self.armed = self._was_armed = False
            raise Interrupted
        elif self._shielded:
            self._missed = True

    def _on_alarm(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self._limited and self.armed and not _tidies_up(frame):
            self._overdue = True
            raise Overdue


_limiting: Interrupts | None = None
"""Who limits the item that runs in the main thread."""


def untimed() -> AbstractContextManager[None]:
    """Return a block that does not count as time of the item which runs here."""
    limits = _limiting if can_limit() else None
    return nullcontext() if limits is None else limits.pause()


def _tidies_up(frame: FrameType | None) -> bool:
    """Whether a signal arrived during the exit of a block; the next alarm comes soon enough."""
    return frame is not None and frame.f_globals.get("__name__") in (__name__, "contextlib")


class Shield:
    """Defers signals in the thread that made it; in other threads it does nothing.

    A reentrant `with` block.  A signal received meanwhile raises
    at its end.
    """

    def __init__(self, interrupts: Interrupts) -> None:
        self._interrupts = interrupts
        self._owner = threading.get_ident()
        self._depth = 0

    def __enter__(self) -> Self:
        if threading.get_ident() == self._owner:
            if not self._depth:
                self._interrupts.lower()
            self._depth += 1
        return self

    def __exit__(self, *exc_info: object) -> None:
        if threading.get_ident() == self._owner:
            self._depth -= 1
            if not self._depth:
                self._interrupts.restore()

    def reset(self) -> None:
        """Reset, in the thread that made it, wherever an exception has hit."""
        self._depth = 0
        self._interrupts.reset()

    @property
    def up(self) -> bool:
        """Whether this thread could be interrupted without the shield."""
        return self._depth > 0 and threading.get_ident() == self._owner

    def wait(self, wait: Callable[[float], None], timeout: float) -> None:
        """Call `wait(timeout)`, which a signal may interrupt; an earlier one does so at once."""
        if not self.up:
            wait(timeout)
            return
        try:
            self._interrupts.expose()
            wait(timeout)
        finally:
            self._interrupts.armed = False
