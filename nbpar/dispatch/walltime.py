"""Begin no item that will not end before its worker does, where workers have a time limit.

A worker without enough time for its next item leaves, and another one takes its place.  How long an item
takes is known only after the first has ended: until then any worker may begin one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from nbpar.backends.base import WorkerId
from nbpar.cluster.base import Lifetime
from nbpar.core.scheduling.scheduler import Scheduler
from nbpar.core.scheduling.windows import Assignment
from nbpar.dispatch.memory import MemoryRules
from nbpar.dispatch.retiring import Retirement

SPREAD = 1.25
"""Items may take this many times as long as those before."""

MARGIN = 10.0
"""Most seconds that remain unused at the end of a worker's time."""

SHARE = 0.05
"""Most of its time that remains unused, as a part of the whole."""


class Walltime:
    """Holds back items that would not end in time."""

    def __init__(self, rules: MemoryRules, scheduler: Scheduler, leaving: Retirement) -> None:
        self._rules = rules
        self._scheduler = scheduler
        self._leaving = leaving
        self._known: dict[WorkerId, Lifetime | None] = {}
        self._vain = 0
        """Number of workers in a row that have left without a single item."""

        self._used: set[WorkerId] = set()
        """Workers that have had an item."""

    def admitted(self, assignments: Iterator[Assignment], now: float) -> Iterator[Assignment]:
        """Return the assignments for which there is time, perhaps shortened."""
        renew = self._rules.renew
        return (
            assignments
            if self._rules.lifetime is None or renew is None
            else self._fit(assignments, now, renew)
        )

    def _fit(
        self, assignments: Iterator[Assignment], now: float, renew: Callable[[WorkerId], None]
    ) -> Iterator[Assignment]:
        for assignment in assignments:
            chunk = assignment.chunk
            fit = self._fitting(assignment, now) or self._despite(assignment)
            if fit < len(chunk.items):
                self._leaving.retire_later(assignment.worker, renew)
                assignment.run.give_back(chunk.rest(fit))
                assignment.chunk = chunk.head(fit)
            if fit:
                self._used.add(assignment.worker)
                self._vain = 0
                yield assignment
            else:
                self._scheduler.drop(assignment.id)

    def _despite(self, assignment: Assignment) -> int:
        """One item if new workers never have the time, because starting takes it; else 0."""
        if assignment.worker in self._used:
            return 0
        self._vain += 1
        return int(self._vain > len(self._scheduler.windows) + 1)

    def _fitting(self, assignment: Assignment, now: float) -> int:
        """The number of items of an assignment that end before the worker does."""
        number = len(assignment.chunk.items)
        life = self._lifetime(assignment.worker)
        each = (assignment.run.chunker.seconds_per_item or 0.0) * SPREAD
        if life is None or not each or assignment.run.pinned is not None:
            return number
        margin = min(MARGIN, SHARE * life.span)
        if each > life.span - margin:  # no worker has the time
            return number
        calls = self._scheduler.windows[assignment.worker].calls.values()
        before = sum(_remaining(call) for call in calls if call is not assignment)
        left = life.ends - margin - now - before
        return int(max(0.0, min(number, left / each)))

    def _lifetime(self, worker: WorkerId) -> Lifetime | None:
        if worker not in self._known:
            assert self._rules.lifetime is not None
            self._known[worker] = self._rules.lifetime(worker)
        return self._known[worker]


def _remaining(call: Assignment) -> float:
    """Seconds for the unanswered items of a call, 0 while nothing is known of them."""
    return (call.run.chunker.seconds_per_item or 0.0) * (len(call.chunk.items) - call.done)
