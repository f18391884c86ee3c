"""Restore process state after an item: signal handlers, timers, event loops, streams, traces.

Its leftovers would affect the worker's loop or another item: a timer that was not canceled
raises into other code, a closed event loop becomes the next item's current loop.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # typeshed does not know it
import faulthandler
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Protocol

from nbpar.host.event_loops import current_loop, current_loop_to_keep, restore_current_loop

LATE = ("SIGALRM", "SIGVTALRM", "SIGPROF", "SIGUSR1", "SIGUSR2", "SIGIO")
"""Signals used for time limits and the like; without a handler they end the process."""

HANDLED = (
    *LATE,
    "SIGINT",
    "SIGTERM",
    "SIGQUIT",
    "SIGHUP",
    "SIGCHLD",
    "SIGPIPE",
    "SIGCONT",
    "SIGTSTP",
    "SIGWINCH",
)
"""Signals whose handlers are restored."""

QUICK = ("SIGALRM", "SIGINT")
"""Those checked even after very short items."""


def _numbers(names: tuple[str, ...]) -> tuple[int, ...]:
    return tuple(int(getattr(signal, name)) for name in names if hasattr(signal, name))


_LATE, _HANDLED, _QUICK = _numbers(LATE), _numbers(HANDLED), _numbers(QUICK)
_TIMERS = _numbers(("ITIMER_REAL", "ITIMER_VIRTUAL", "ITIMER_PROF"))

# avoids the enumerations that `signal` makes of every result
_handler: Callable[[int], Any] = _signal.getsignal
_timer: Callable[[int], tuple[float, float]] = getattr(_signal, "getitimer", lambda _: (0.0, 0.0))


class AfterItem(Protocol):
    """Collects output that bypassed Python's streams, and clears an item's leftovers."""

    @property
    def seen(self) -> bool:
        """Whether items need that."""

    def look(self, index: int | None = None) -> None:
        """Do so for the running item, or for another one."""

    def glance(self, index: int) -> None:
        """Do the minimum after very short items; everything if that has proved necessary."""


class Leftovers:
    """The state that items find in this thread, restored after each of them.

    Args:
        whole_process: the worker owns the process, and runs in its main thread.  Otherwise there is
            only the thread's event loop to restore.
    """

    def __init__(self, *, whole_process: bool) -> None:
        self.seen = False
        """An item had leftovers since this was set to False: others may have, too."""

        self.quick: list[tuple[int, Any]] = []
        """Signals checked even after very short items, with their handlers."""

        self._process = whole_process and threading.current_thread() is threading.main_thread()
        self._interrupt = _handler(signal.SIGINT)
        self._dumps_end = True
        self._take_stock()

    def keep(self) -> None:
        """Make the current state the one that items find: it was set by an initializer or by imports.

        SIGINT stays the worker's own, for Stop.
        """
        self._dumps_end = False
        if self._process and _handler(signal.SIGINT) is not self._interrupt:
            signal.signal(signal.SIGINT, self._interrupt)
        self._take_stock()

    def clear(self) -> None:
        """Restore everything that has changed."""
        if self._process:
            self._clear_signals()
            self._clear_interpreter()
        if current_loop() != self._loop:
            self.seen = True
            restore_current_loop(self._loop)

    def _take_stock(self) -> None:
        self._loop = current_loop_to_keep()
        if self._process:
            self._handlers = [(number, _handler(number)) for number in _HANDLED]
            self.quick = [(number, _handler(number)) for number in _QUICK]
            self._timers = [timer for timer in _TIMERS if not any(_timer(timer))]
            self._streams = sys.stdout, sys.stderr
            self._traces = sys.gettrace(), sys.getprofile()
            self._recursion = sys.getrecursionlimit()
            self._wakeup = signal.set_wakeup_fd(-1)
            signal.set_wakeup_fd(self._wakeup)

    def _clear_signals(self) -> None:
        changed = [pair for pair in self._handlers if _handler(pair[0]) is not pair[1]]
        for timer in self._timers if changed or self.seen else self._timers[:1]:
            if any(_timer(timer)):
                self.seen = True
                signal.setitimer(timer, 0.0)
        for number, handler in changed:
            self.seen = True
            self._put_back(number, handler)
        if signal.set_wakeup_fd(-1) != self._wakeup or self._wakeup != -1:
            signal.set_wakeup_fd(self._wakeup)
        if self._dumps_end:
            faulthandler.cancel_dump_traceback_later()

    def _clear_interpreter(self) -> None:
        if sys.stdout is not self._streams[0] or sys.stderr is not self._streams[1]:
            self.seen = True
            sys.stdout, sys.stderr = self._streams
        if sys.gettrace() is not self._traces[0]:
            sys.settrace(self._traces[0])
        if sys.getprofile() is not self._traces[1]:
            sys.setprofile(self._traces[1])
        if sys.getrecursionlimit() != self._recursion:
            sys.setrecursionlimit(self._recursion)

    def _put_back(self, number: int, handler: Any) -> None:
        if handler == signal.SIG_DFL and number in _LATE:
            handler = _come_late  # one may be in transit, from a thread or from another process
            self._handlers = [(known, handler if known == number else one) for known, one in self._handlers]
            self.quick = [(known, handler if known == number else one) for known, one in self.quick]
        if handler is not None:  # the handler of C code, which Python cannot set
            signal.signal(number, handler)


def _come_late(number: int, frame: FrameType | None) -> None:
    """Ignore a signal for an item that is over."""


class UncapturedOutput(Protocol):
    """Finds output of items that bypassed Python's streams."""

    seen: bool

    def look(self, index: int | None = None) -> None:
        """Collect the output so far, for the running item or another one."""


class ItemCleanup:
    """Steps after an item: collect its output, clear its leftovers.

    It takes microseconds, so it is done once for many much shorter items, until one of them
    needs it.
    """

    def __init__(self, leftovers: Leftovers, output: UncapturedOutput | None = None) -> None:
        self._leftovers = leftovers
        self._output = output
        self.clears = True
        """False while an initializer runs, whose leftovers stay."""

    @property
    def seen(self) -> bool:
        """Whether items must be checked one by one."""
        return self._leftovers.seen or (self._output is not None and self._output.seen)

    def begin(self) -> None:
        """Reset for another run."""
        self._leftovers.clear()
        self._leftovers.seen = False
        if self._output is not None:
            self._output.seen = False

    def keep(self) -> None:
        """Make the current state the one that items find."""
        self._leftovers.keep()

    def look(self, index: int | None = None) -> None:
        """Collect the output of the running item or another one, and clear its leftovers."""
        if self._output is not None:
            self._output.look(index)
        self.clear()

    def glance(self, index: int) -> None:
        """After very short items: clear the most harmful leftovers, or check thoroughly if necessary."""
        leftovers, output = self._leftovers, self._output
        if leftovers.seen or (output is not None and output.seen):
            self.look(index)
            return
        for number, handler in leftovers.quick:
            if _handler(number) is not handler:
                self.clear()

    def clear(self) -> None:
        """Clear the leftovers."""
        if self.clears:
            self._leftovers.clear()
