"""Hold work back while memory is short, and renew workers that have grown or done enough.

Nothing of this stops a run for good: what needs memory may be what is to give it back, so
while nothing runs at all one chunk after the other goes on.
"""

from __future__ import annotations

import platform
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from nbpar.backends.base import WorkerId
from nbpar.core.events import MemoryLow
from nbpar.core.scheduler import Scheduler
from nbpar.core.windows import Assignment
from nbpar.dispatch.leaving import Leaving
from nbpar.dispatch.workforce import Workforce
from nbpar.memory_guard import EVERY, MemoryGuard, resident_bytes


@dataclass(frozen=True)
class MemoryRules:
    """What a pool says of memory."""

    guard: MemoryGuard | None = None
    """Holds work back while too little is free on this host."""

    most_items: int | None = None
    """A worker is renewed when it was given so many items."""

    most_bytes: int | None = None
    """A worker that holds more is renewed."""

    renew: Callable[[WorkerId], None] | None = None
    """Puts a new worker in the place of one that has left."""


NO_RULES = MemoryRules()


class Memory:
    """What is known of workers' memory, and what is done about it."""

    def __init__(
        self, rules: MemoryRules, scheduler: Scheduler, workforce: Workforce, leaving: Leaving
    ) -> None:
        self._rules = rules
        self._scheduler = scheduler
        self._workforce = workforce
        self._leaving = leaving
        self._looked = float("-inf")
        self._given: dict[WorkerId, int] = {}
        """Items each worker was given."""

        self._seen: dict[WorkerId, int] = {}
        """Resident bytes at last sight."""

    @property
    def low(self) -> bool:
        """Whether work is held back."""
        return self._rules.guard is not None and self._rules.guard.low

    def event(self, now: float) -> MemoryLow:
        """Return how it stands."""
        guard = self._rules.guard
        return MemoryLow(now, self.low, guard.free if guard is not None else 0)

    def look_in(self, now: float) -> float:
        """Seconds until it is time for a look."""
        return self._looked + EVERY - now if self._workforce.ready else EVERY

    def look(self, now: float, *, busy: bool = False) -> bool:
        """Look at machine and workers, unless that was done a moment ago; whether `low` has changed.

        Whoever is busy has workers waiting, and looks when it is more than time.
        """
        if self.look_in(now) > (-EVERY if busy else 0.0):
            return False
        self._looked = now
        here = self._here()
        for worker, pid in here.items():
            if (memory := resident_bytes(pid)) is not None:
                self.note(worker, memory)
        guard = self._rules.guard
        if guard is None or not here or not guard.look(now):
            return False
        if guard.low:
            self._ask_back()
        return True

    def admitted(self, assignments: Iterator[Assignment]) -> Iterator[Assignment]:
        """Pass on assignments as far as memory allows."""
        if self.low and any(window.calls for window in self._scheduler.windows.values()):
            return
        for assignment in assignments:
            self._count(assignment)
            yield assignment
            if self.low:
                return

    def note(self, worker: WorkerId, memory: int) -> None:
        """Take in how much memory a worker holds; one that holds too much leaves between two items."""
        if not memory:
            return
        self._seen[worker] = memory
        most, renew = self._rules.most_bytes, self._rules.renew
        if most is not None and renew is not None and memory > most and worker in self._scheduler.windows:
            if waiting := self._scheduler.windows.behind(worker):
                self._workforce.cancel(worker, waiting)
            self._leaving.retire_later(worker, renew)

    def forget(self, worker: WorkerId) -> int | None:
        """Forget a worker that is gone; return its memory at last sight."""
        self._given.pop(worker, None)
        return self._seen.pop(worker, None)

    def _count(self, assignment: Assignment) -> None:
        """Count what a worker is given; cut the chunk that would be too much, and let it leave after that."""
        most, renew = self._rules.most_items, self._rules.renew
        if most is None or renew is None:
            return
        worker, chunk = assignment.worker, assignment.chunk
        left = most - self._given.get(worker, 0)
        if len(chunk.items) >= left:
            assignment.chunk = chunk.head(left)
            assignment.run.give_back(chunk.rest(left))
            self._leaving.retire_later(worker, renew)
        self._given[worker] = most - left + len(assignment.chunk.items)

    def _ask_back(self) -> None:
        """Take back what waits on workers behind what they run."""
        for worker in list(self._scheduler.windows):
            if waiting := self._scheduler.windows.behind(worker):
                self._workforce.cancel(worker, waiting)

    def _here(self) -> dict[WorkerId, int]:
        """Processes of the workers on this host."""
        names = (platform.node(), socket.gethostname())
        facts = ((worker, self._workforce.facts(worker)) for worker in self._workforce.ready)
        return {worker: int(f["pid"]) for worker, f in facts if f.get("host") in names and f.get("pid")}
