"""Whether and when a dead engine is replaced."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field


@dataclass(slots=True)
class Healing:
    """Replace engines at once, slower when they die one after the other, and not at all when none comes up.

    Items that kill their engine must not stop the others, so engines that had registered are
    always replaced.  Engines that die before they register would die for ever.
    """

    free: int = 20
    """Replacements a minute that are not slowed down."""

    longest: float = 2.0
    """Most seconds that a replacement waits."""

    stillborn: int = 3
    """Engines in a row that may end before they register."""

    _deaths: deque[float] = field(default_factory=deque)
    _stillborn: int = 0

    def delay_after_death(self, now: float, *, registered: bool) -> float | None:
        """Seconds until the engine that died at `now` is to be replaced, None when it must not be."""
        self._stillborn = 0 if registered else self._stillborn + 1
        if self._stillborn >= self.stillborn:
            return None
        self._deaths.append(now)
        while self._deaths[0] < now - 60:
            self._deaths.popleft()
        return min(self.longest, 0.1 * max(0, len(self._deaths) - self.free))

    def registered(self) -> None:
        """An engine came up."""
        self._stillborn = 0
