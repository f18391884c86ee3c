"""Throttle work while memory is low; recycle workers that have grown or reached their item limit.

This never stops a run completely: running items may be the ones that free memory, so
chunks continue one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from nbpar.backends.base import WorkerId
from nbpar.cluster.base import Lifetime
from nbpar.core.events import MemoryLow
from nbpar.core.scheduling.scheduler import Scheduler
from nbpar.core.scheduling.windows import Assignment
from nbpar.dispatch.retiring import Retirement
from nbpar.dispatch.workforce import Workforce
from nbpar.host.exit_status import KILLED, lacked_memory
from nbpar.host.machine import is_here
from nbpar.host.memory import EVERY, MemoryGuard, resident_bytes_of, whole_memory

MOST_OF_ALL = 0.5
"""Share of the memory with which a worker that was killed is likely to have run out of it."""


@dataclass(frozen=True)
class MemoryRules:
    """A pool's rules about memory and other reasons to replace workers."""

    guard: MemoryGuard | None = None
    """Throttles work while free memory on this host is low."""

    most_items: int | None = None
    """A worker is replaced after this number of items."""

    most_bytes: int | None = None
    """A worker that holds more is replaced."""

    renew: Callable[[WorkerId], None] | None = None
    """Replaces a worker that has left."""

    lifetime: Callable[[WorkerId], Lifetime | None] | None = None
    """Returns when a worker ends by itself."""


NO_RULES = MemoryRules()


class Memory:
    """State of the memory, and the reactions to it."""

    def __init__(
        self, rules: MemoryRules, scheduler: Scheduler, workforce: Workforce, leaving: Retirement
    ) -> None:
        self._rules = rules
        self._scheduler = scheduler
        self._workforce = workforce
        self._leaving = leaving
        self._looked = float("-inf")
        self._given: dict[WorkerId, int] = {}
        """Number of items sent to each worker."""

        self._seen: dict[WorkerId, int] = {}
        """Resident bytes when last measured."""

    @property
    def low(self) -> bool:
        """Whether work is throttled."""
        return self._rules.guard is not None and self._rules.guard.low

    def event(self, now: float) -> MemoryLow:
        """Return the current state."""
        guard = self._rules.guard
        return MemoryLow(now, self.low, guard.free if guard is not None else 0)

    def look_in(self, now: float) -> float:
        """Seconds until the next check."""
        return self._looked + EVERY - now if self._workforce.any_ready else EVERY

    def look(self, now: float, *, busy: bool = False) -> bool:
        """Check machine and workers, unless that was done a moment ago; return whether `low` has changed.

        While workers are waiting for an answer, check only when twice the interval has passed.
        """
        if self.look_in(now) > (-EVERY if busy else 0.0):
            return False
        self._looked = now
        here = self._here()
        for worker, pid in here.items():
            if (memory := resident_bytes_of(pid)) is not None:
                self.note(worker, memory)
        guard = self._rules.guard
        if guard is None or not here or not guard.look(now):
            return False
        if guard.low:
            self._ask_back()
        return True

    def admitted(self, assignments: Iterator[Assignment]) -> Iterator[Assignment]:
        """Return the assignments that memory allows."""
        if not self.low and self._rules.most_items is None:
            return assignments
        return iter(()) if self.low and self._scheduler.windows.busy else self._counted(assignments)

    def _counted(self, assignments: Iterator[Assignment]) -> Iterator[Assignment]:
        for assignment in assignments:
            if self._rules.most_items is not None:
                self._count(assignment)
            yield assignment
            if self.low:
                return

    def note(self, worker: WorkerId, memory: int) -> None:
        """Record the memory of a worker; a worker with too much leaves between two items."""
        if not memory:
            return
        self._seen[worker] = memory
        most, renew = self._rules.most_bytes, self._rules.renew
        if most is not None and renew is not None and memory > most and worker in self._scheduler.windows:
            if waiting := self._scheduler.windows.behind(worker):
                self._workforce.cancel(worker, waiting)
            self._leaving.retire_later(worker, renew)

    def ran_out(self, worker: WorkerId, reason: str) -> bool:
        """Whether a worker that died did so for lack of memory, as far as can be known.

        Where nobody tells, as in many containers, it is likely if it was killed while little was free, or
        had most of it.
        """
        if lacked_memory(reason):
            return True
        if reason != KILLED:
            return False
        return self.low or self._seen.get(worker, 0) > MOST_OF_ALL * whole_memory()

    def take_back(self, worker: WorkerId, items: int) -> None:
        """Subtract items that were sent to a worker and not begun."""
        if worker in self._given:
            self._given[worker] -= items

    def forget(self, worker: WorkerId) -> int | None:
        """Delete the data of a worker that is gone; return its last known memory."""
        self._given.pop(worker, None)
        return self._seen.pop(worker, None)

    def _count(self, assignment: Assignment) -> None:
        """Count the items of a worker; cut a chunk at the limit, and retire the worker after that."""
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
        """Recall calls that are queued on workers."""
        for worker in list(self._scheduler.windows):
            if waiting := self._scheduler.windows.behind(worker):
                self._workforce.cancel(worker, waiting)

    def _here(self) -> dict[WorkerId, int]:
        """Return the processes of the workers on this host."""
        facts = ((worker, self._workforce.facts(worker)) for worker in self._workforce.ready)
        return {worker: int(f["pid"]) for worker, f in facts if is_here(f) and f.get("pid")}
