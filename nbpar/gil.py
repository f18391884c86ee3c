"""Measure how much of its time a function holds the GIL."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self

PAUSE = 0.001
"""Seconds between two looks at the GIL."""

SLACK = 1e-4
"""Seconds by which sleep is late by itself."""


def gil_share(work: Callable[[], Any]) -> float:
    """Measure the share of its time in which `work()` keeps other threads from running Python.

    Another thread sleeps for a moment, over and over.  When it wakes up it needs the GIL: either it is
    there at once, or the thread has to ask for it, which takes a switch interval.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(PAUSE)
    watcher = _Watcher()
    try:
        watcher.start()
        watcher.awake.wait()
        try:
            work()
        finally:
            watcher.end()
    finally:
        sys.setswitchinterval(before)
    return watcher.share


def has_gil() -> bool:
    """Whether threads of this Python take turns."""
    return bool(getattr(sys, "_is_gil_enabled", lambda: True)())


class _Watcher(threading.Thread):
    """Wakes up often and notes how long it had to wait for the GIL."""

    def __init__(self) -> None:
        super().__init__(name="nbpar advise", daemon=True)
        self.awake = threading.Event()
        self._over = False
        self._waits: list[float] = []

    def run(self) -> None:
        with ThreadClock() as clock:
            self.awake.set()
            before = clock.running()
            while not self._over:
                time.sleep(PAUSE)
                now = clock.running()
                self._waits.append(max(0.0, now - before - PAUSE - SLACK))
                before = now

    def end(self) -> None:
        """Stop looking."""
        self._over = True
        self.join()

    @property
    def share(self) -> float:
        """Looks that found the GIL taken, weighted with the time that each stands for."""
        whole = sum(PAUSE + wait for wait in self._waits)
        taken = sum((PAUSE + wait) * min(1.0, wait / PAUSE) for wait in self._waits)
        return taken / whole if whole else 0.0


class ThreadClock:
    """This thread's time without that in which it could have run but other processes had the CPUs.

    Linux tells how long a thread waited for a CPU; elsewhere it is the ordinary time.
    """

    def __enter__(self) -> Self:
        self._file: int | None = None
        with suppress(OSError):
            self._file = os.open(f"/proc/self/task/{threading.get_native_id()}/schedstat", os.O_RDONLY)
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._file is not None:
            os.close(self._file)

    def running(self) -> float:
        """Seconds since some moment."""
        now = time.perf_counter()
        if self._file is None:
            return now
        return now - int(os.pread(self._file, 100, 0).split()[1]) / 1e9
