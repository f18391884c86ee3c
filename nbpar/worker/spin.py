"""Look for what comes at once, rather than sleep until it comes.

To wake a thread on another core can take longer than a short answer takes to be made.  So a wait
that follows a short one looks again and again for a moment before it sleeps.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

from nbpar.worker.cores import cores

NEAR = 500e-6
"""Seconds of looking at most for what comes from the same host."""

FAR = 1e-3
"""The same for what comes through a controller."""

WAKING = 100e-6
"""Seconds more that a wait in sleep may take for the next one to look."""

MOST_SKIPPED = 64
"""Waits that begin without looking, at most, after looking was in vain again and again."""

clock = time.perf_counter

_let_others_run = getattr(os, "sched_yield", lambda: time.sleep(0))

_Found = TypeVar("_Found")


class Spin:
    """What one who waits again and again has learned of how soon things come.

    Args:
        longest: seconds of looking at most.

    On a single core there is nobody to wait for who could run meanwhile, so it never looks.
    """

    def __init__(self, longest: float = NEAR) -> None:
        self._longest = longest
        self._alone = cores() == 1
        self._soon = False
        self._skip = self._in_vain = 0

    @property
    def due(self) -> bool:
        """Whether the wait that begins now begins with `look_for`."""
        return self._soon and self._skip == 0

    def look_for(self, look: Callable[[], _Found]) -> _Found:
        """Call `look` for a moment, until it returns something true; return what it did last.

        Others may have the core in between.  Where one of them keeps it for longer than the
        moment, the look was in vain whatever it found.
        """
        now = clock()
        until = now + self._longest
        while not (found := look()) and now < until:
            _let_others_run()
            now = clock()
        self._in_vain = 0 if now < until else min(2 * self._in_vain + 1, MOST_SKIPPED)
        self._skip = self._in_vain
        return found

    def slept(self, seconds: float) -> None:
        """A wait in sleep took so long."""
        self._soon = seconds < self._longest + WAKING and not self._alone
        self._skip = max(0, self._skip - 1)
