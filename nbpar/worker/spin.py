"""Adaptive spinning: poll briefly before blocking, when recent waits were short.

Waking a thread on another core can take longer than computing a short answer.  So a wait
after a short one polls for a moment before it blocks.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

from nbpar.host.cpus import cores

NEAR = 500e-6
"""Maximal seconds of polling for messages from the same host."""

FAR = 1e-3
"""The same through a controller."""

WAKING = 100e-6
"""Additional seconds that a blocking wait may take for the next one to poll."""

MOST_SKIPPED = 64
"""Upper bound of the back-off: waits that skip polling after it kept failing."""

clock = time.perf_counter

_let_others_run = getattr(os, "sched_yield", lambda: time.sleep(0))

_Found = TypeVar("_Found")


class AdaptiveSpin:
    """Decides, from the durations of earlier waits, whether to poll before blocking.

    Args:
        longest: maximal seconds of polling.

    On a single core the other side could not run meanwhile, so it never polls.
    """

    def __init__(self, longest: float = NEAR) -> None:
        self._longest = longest
        self._alone = cores() == 1
        self._soon = False
        self._skip = self._in_vain = 0

    @property
    def due(self) -> bool:
        """Whether the next wait starts with `look_for`."""
        return self._soon and self._skip == 0

    def look_for(self, look: Callable[[], _Found]) -> _Found:
        """Poll `look` for a moment, until it returns a true value; return its last result.

        Yields the core in between.  If another process keeps it for longer than the
        moment, polling counts as failed whatever the result.
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
        """Record the duration of a blocking wait."""
        self._soon = seconds < self._longest + WAKING and not self._alone
        self._skip = max(0, self._skip - 1)
