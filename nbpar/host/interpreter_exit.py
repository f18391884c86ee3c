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

from nbpar.host.error_log import call_safely

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
        self._given_up = False
        self.begun = False
        """Whether the main thread has come to its end."""

        self.over = False
        """Whether nothing is waited for any more."""

    def finish_first(self, work: Work) -> None:
        """Wait for some work before the interpreter ends; Ctrl-C stops it then."""
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
        try:
            self._wait(lambda _: True)
        finally:
            self.over = True
            for end in self._in_order():
                call_safely(end, "what should end with the interpreter did not")
            self._help()

    def _wait(self, chosen: Callable[[Work], bool]) -> None:
        """Wait for the chosen work, and do what is left to this thread meanwhile."""
        if self._given_up:
            return
        works: list[Work] = []
        try:
            while works := [work for work in self._known() if chosen(work) and not work.wait(0)]:
                works[0].wait(MOMENT)
                self._help()
        except KeyboardInterrupt:
            self._given_up = True
            for work in works:
                call_safely(work.cancel, "what was submitted could not be stopped")
            raise

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


interpreter = Exit()
"""The one of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=interpreter._begin_in_fork)  # noqa: SLF001 (of our own kind)
