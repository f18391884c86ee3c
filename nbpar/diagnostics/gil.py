"""Measure the share of its time for which a function holds the GIL."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from nbpar.host.cpus import ThreadClock

PAUSE = 0.001
"""Seconds between two probes of the GIL."""

SLACK = 1e-4
"""Inaccuracy of sleep in seconds."""


def gil_share(work: Callable[[], Any]) -> float:
    """Measure the share of its time in which `work()` keeps other threads from running Python.

    Another thread sleeps for a moment, repeatedly.  When it wakes up it needs the GIL: either it is
    free, or the thread must request it, which takes a switch interval.
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


class _Watcher(threading.Thread):
    """Wakes up often and records how long it had to wait for the GIL."""

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
        """Stop measuring."""
        self._over = True
        self.join()

    @property
    def share(self) -> float:
        """Share of probes that found the GIL taken, weighted by the time that each represents."""
        whole = sum(PAUSE + wait for wait in self._waits)
        taken = sum((PAUSE + wait) * min(1.0, wait / PAUSE) for wait in self._waits)
        return taken / whole if whole else 0.0
