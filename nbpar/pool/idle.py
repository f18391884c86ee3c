"""When the engines of a default pool end for lack of work: the time, where it is set, and who looks."""

from __future__ import annotations

import math
import os
import threading
import weakref
from collections.abc import Mapping
from typing import NamedTuple, Protocol

from nbpar.core.text import plural
from nbpar.host.cpus import number_in
from nbpar.host.error_log import call_safely

IDLE_VARIABLE = "NBPAR_IDLE_MINUTES"
"""The variable with the minutes without work after which engines end; 0: never."""

IDLE_MINUTES = 15.0

LOOKS = 15
"""Looks in the time without work."""

SHORTEST, LONGEST = 1.0, 60.0
"""Seconds between two looks."""


class IdleLimit(NamedTuple):
    """How long engines may be without work."""

    minutes: float
    """Infinite if they never end."""

    source: str
    """Where it is set; "" if it is the default."""

    @property
    def ends(self) -> bool:
        """Whether engines end at all."""
        return self.minutes < math.inf

    @property
    def sentence(self) -> str:
        """What happens to the engines."""
        return f"end after {minutes(self.minutes)} without work"

    @property
    def seconds(self) -> float:
        """The time in seconds."""
        return 60 * self.minutes

    @property
    def pause(self) -> float:
        """Seconds between two looks."""
        return min(LONGEST, max(SHORTEST, self.seconds / LOOKS))


class IdleChoice:
    """The limit of this process, which a shell's configuration or the user may have set."""

    def __init__(self) -> None:
        self._chosen: IdleLimit | None = None

    def choose(self, minutes: float | None, source: str) -> None:
        """Set the minutes, 0 for never; None: what the environment or nbpar says."""
        self._chosen = None if minutes is None else _limit(minutes, source)

    def limit(self, environment: Mapping[str, str] = os.environ) -> IdleLimit:
        """Return the limit that holds now: what was chosen, else the environment's, else nbpar's."""
        if self._chosen is not None:
            return self._chosen
        told = number_in(environment, IDLE_VARIABLE, zero=True)
        return _limit(IDLE_MINUTES, "") if told is None else _limit(told, IDLE_VARIABLE)


def minutes(number: float) -> str:
    """Return a number of minutes in words."""
    return plural(int(number), "minute") if number == int(number) else f"{number:g} minutes"


def _limit(minutes: float, source: str) -> IdleLimit:
    return IdleLimit(minutes or math.inf, source)


idle_choice = IdleChoice()


class IdleTime:
    """Adds up the time without work, look by look.

    Time in which nothing looked, because the process was stopped or the machine slept, counts as one pause: a
    call that was about to begin then still has the whole limit.
    """

    def __init__(self, now: float) -> None:
        self._looked = now
        self._idle = 0.0

    def is_over(self, now: float, limit: IdleLimit, *, busy: bool) -> bool:
        """Whether there was no work for long enough; `busy`: there was some since the last look."""
        passed, self._looked = now - self._looked, now
        self._idle = 0.0 if busy else self._idle + min(passed, 2 * limit.pause)
        return self._idle >= limit.seconds


class Resting(Protocol):
    """A pool whose engines end without work."""

    @property
    def closed(self) -> bool:
        """Whether it needs no looks any more."""

    def look(self) -> None:
        """End the engines if there was no work for long enough."""


def watch(pool: Resting) -> None:
    """Look at a pool again and again, in a thread of its own, until it is closed or dropped."""
    threading.Thread(target=_watch, args=(weakref.ref(pool),), name="nbpar idle", daemon=True).start()


def _watch(reference: weakref.ref[Resting]) -> None:
    pause = threading.Event()
    while True:
        pause.wait(idle_choice.limit().pause)
        if (pool := reference()) is None or pool.closed:
            return
        call_safely(pool.look, "engines without work could not be ended")
        del pool
