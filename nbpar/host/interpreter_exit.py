"""End in order with the interpreter: finish work, close pools, stop clusters.

`concurrent.futures` finishes what was submitted before `atexit` functions are called, while threads that
are no daemons may wait for it; so does this.  What has to end is called by one `atexit` function for all,
so that a pool is closed before the cluster that it uses is stopped, whichever of them began first.
"""

from __future__ import annotations

import atexit
import os
import queue
import sys
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from enum import IntEnum
from typing import Protocol

from nbpar.host.ctrl_c import may_be_ctrl_c
from nbpar.host.error_log import call_safely, log_error

STARTS_NO_THREADS = sys.version_info[:2] == (3, 12)
"""Whether an interpreter that ends starts no threads."""

MOMENT = 0.1
"""Seconds between two looks whether something was left to the main thread."""


class ExitOrder(IntEnum):
    """What ends first."""

    POOL = 1
    CLUSTER = 2
    SPARE = 3


class Work(Protocol):
    """What is to be done before the interpreter ends; it is known as long as there are references to it."""

    by_caller: bool
    """Whether it is only done while `wait` is called, so that no other thread may do so."""

    def wait(self, seconds: float) -> bool:
        """Wait for what is outstanding, but no longer than this; whether nothing is."""

    def cancel(self) -> None:
        """Stop it."""


class Exit:
    """The end of this process's interpreter."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # for the following two
        self._ends: dict[Callable[[], None], ExitOrder] = {}
        self._works: weakref.WeakSet[Work] = weakref.WeakSet()
        self._left: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        """What other threads have left to the main thread."""

        self._watched = False
        self.interrupted = False
        """Whether Ctrl-C has ended the program, or the wait for what is outstanding."""

        self.begun = False
        """Whether the main thread has come to its end."""

        self.over = False
        """Whether nothing is waited for any more."""

    def finish_first(self, work: Work) -> None:
        """Wait for some work before the interpreter ends.

        Ctrl-C stops it, before or then, and the process ends as after any uncaught Ctrl-C, by SIGINT.
        """
        with self._lock:
            self._works.add(work)
            watched, self._watched = self._watched, True
        if not watched:
            with suppress(AttributeError, RuntimeError):  # it is not public; too late: `_end` will wait
                threading._register_atexit(self._finish)  # type: ignore[attr-defined]  # noqa: SLF001

    def end_with(self, end: Callable[[], None], order: ExitOrder) -> None:
        """Call `end()` when the interpreter ends.

        Functions that were given to `atexit` later than the first of an order are called before it.
        """
        with self._lock:
            first = all(order < other for other in self._ends.values())
            self._ends[end] = order
        if first:
            atexit.unregister(self._end)
            atexit.register(self._end)

    def forget(self, end: Callable[[], None]) -> None:
        """Do not call `end` any more."""
        with self._lock:
            self._ends.pop(end, None)

    def start(self, thread: threading.Thread) -> None:
        """Start a thread; an interpreter that ends and starts none leaves its work to the main thread."""
        try:
            thread.start()
        except RuntimeError as error:
            if "interpreter shutdown" not in str(error):
                raise
            self._left.put(thread.run)

    def _finish(self) -> None:
        self.begun = True
        self._wait(lambda work: not work.by_caller)

    def _end(self) -> None:
        self.begun = True
        self._wait(lambda _: True)
        self.over = True
        for end in self._in_order():
            self._call(end, "what should end with the interpreter did not")
        self._call(self._help, "what was left to the main thread failed")
        if self.interrupted:
            end_by_sigint()

    def _wait(self, chosen: Callable[[Work], bool]) -> None:
        """Wait for the chosen work, and do what is left to this thread meanwhile."""
        self.interrupted = self.interrupted or main_code_was_interrupted()
        try:
            while not self.interrupted and (works := [*filter(chosen, self._open_works())]):
                works[0].wait(MOMENT)
                self._help()
        except KeyboardInterrupt:
            self.interrupted = True
        if self.interrupted:
            for work in self._open_works():
                self._call(work.cancel, "what was submitted could not be stopped")

    def _open_works(self) -> list[Work]:
        return [work for work in self._known() if not work.wait(0)]

    def _call(self, function: Callable[[], None], otherwise: str) -> None:
        """Call a function, whose errors are logged; Ctrl-C ends it, and is noted."""
        try:
            function()
        except BaseException as error:  # noqa: BLE001 (nothing may keep the others from their end)
            if may_be_ctrl_c(error):
                self.interrupted = True
            else:
                log_error(otherwise, error)

    def _known(self) -> list[Work]:
        with self._lock:
            return list(self._works)

    def _in_order(self) -> list[Callable[[], None]]:
        with self._lock:
            latest_first = [*reversed(self._ends.items())]
            self._ends.clear()
        return [end for end, _ in sorted(latest_first, key=lambda entry: entry[1])]

    def _help(self) -> None:
        while not self._left.empty():
            call_safely(self._left.get(), "what was left to the main thread failed", passes_ctrl_c=True)

    def _begin_in_fork(self) -> None:
        """Wait for nothing in a fork of this process: its work is the parent's."""
        self._lock = threading.Lock()
        self._works = weakref.WeakSet()
        self._left = queue.SimpleQueue()


def main_code_was_interrupted() -> bool:
    """Whether the program ends because a KeyboardInterrupt, as our `StoppedError` is, left its main code."""
    error, trace = getattr(sys, "last_value", None), getattr(sys, "last_traceback", None)
    if not isinstance(error, KeyboardInterrupt) or trace is None:
        return False
    if sys.flags.interactive or hasattr(sys, "ps1"):
        return False  # a shell, too, leaves its last error there
    outermost = trace.tb_frame.f_globals.get("__name__")
    return outermost in ("__main__", "runpy")


def end_by_sigint() -> None:
    """Let this process end by SIGINT when the interpreter has ended, as after an uncaught Ctrl-C.

    CPython notes whether exactly a KeyboardInterrupt, no subclass, has left the source that it has run last,
    and ends so if it has (`exit_sigint` in its main.c).  An exit code that was given to `sys.exit` stays.
    """
    with suppress(KeyboardInterrupt):
        exec("raise KeyboardInterrupt")  # noqa: S102 (see above)


interpreter = Exit()
"""The one of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=interpreter._begin_in_fork)  # noqa: SLF001 (of our own kind)
