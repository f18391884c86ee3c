"""Decide which chunk runs where.

The scheduler is plain state: it starts no thread, reads no clock and talks to no worker.
A driver asks it for assignments, sends them, and reports what came back.  Several runs
share the workers fairly: the run that has used the least time is served first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from nbpar.core.outcome import Failure, Part
from nbpar.core.runstate import Chunk, RunState

WorkerId = str


@dataclass(slots=True)
class Assignment:
    """A chunk for one worker, from being sent to being answered."""

    id: int
    worker: WorkerId
    run: RunState
    chunk: Chunk
    sent: float
    """When it was handed out, on the driver's clock."""

    alone: bool
    """Whether the worker had nothing else to do then."""

    expected: float
    """Seconds of work it was thought to be."""

    done: int = 0
    """How many of its items have been answered."""


@dataclass(slots=True)
class _Worker:
    """What a worker has under way, oldest first."""

    calls: dict[int, Assignment] = field(default_factory=dict)
    alone: bool = False
    """It runs what killed another worker, with nothing behind it."""


class Scheduler:
    """Runs on one side, workers on the other."""

    def __init__(self) -> None:
        self.runs: dict[int, RunState] = {}
        self._workers: dict[WorkerId, _Worker] = {}
        self._calls: dict[int, Assignment] = {}
        self._hungry: set[WorkerId] = set()
        self._next_id = 0

    @property
    def workers(self) -> Iterable[WorkerId]:
        """Who takes part, in the order of joining."""
        return self._workers

    @property
    def idle(self) -> bool:
        """Whether no call is under way."""
        return not self._calls

    def call(self, call: int) -> Assignment | None:
        """Return a call that is under way."""
        return self._calls.get(call)

    def head(self, worker: WorkerId) -> Assignment | None:
        """Return the oldest call of a worker, which is the one that runs."""
        state = self._workers.get(worker)
        return next(iter(state.calls.values()), None) if state is not None else None

    def load(self, worker: WorkerId) -> int:
        """Return how many calls a worker has under way."""
        return len(self._workers[worker].calls)

    def due(self) -> float | None:
        """When a delayed retry may run; None when there is none."""
        return min((due for run in self.runs.values() if (due := run.due) is not None), default=None)

    def add(self, run: RunState) -> None:
        """Let a run take part; it is as urgent as the neediest of the others."""
        run.priority = min((other.priority for other in self.runs.values()), default=0.0)
        self.runs[run.id] = run

    def remove(self, run: RunState) -> list[Assignment]:
        """Forget a run's waiting work; return its calls that are under way."""
        run.cancel()
        if not run.running:
            self.runs.pop(run.id, None)
        return [call for call in self._calls.values() if call.run is run]

    def join(self, worker: WorkerId) -> None:
        """A worker takes part from now on."""
        self._workers[worker] = _Worker()
        self._hungry.add(worker)

    def assign(self, now: float) -> Iterator[Assignment]:
        """Fill every worker's window, a chunk each in turn, least loaded first."""
        if not self.runs:
            return
        hungry = sorted(self._hungry, key=self.load)
        while hungry:
            fed = []
            for worker in hungry:
                if (assignment := self._assign_one(worker, now)) is not None:
                    fed.append(worker)
                    yield assignment
            hungry = fed

    def answer(
        self, call: int, values: int, seconds: float, now: float, *, final: bool, moved: int = 0
    ) -> Assignment | None:
        """Record that a call's next `values` items came back; None when the call is not known any more.

        With `final` the call is over; what it left undone goes back to its run.
        """
        assignment = self._calls.get(call)
        if assignment is None:
            return None  # its worker was given up before
        run = assignment.run
        assignment.done += values
        run.priority += seconds
        whole = final and values == assignment.done  # answered in one piece
        wait = now - assignment.sent - seconds if assignment.alone and whole else None
        run.chunker.learn(values, seconds, moved=moved, round_trip=wait)
        if final:
            run.priority -= assignment.expected
            self._close(assignment)
            run.give_back(assignment.chunk.rest(assignment.done))
            self._forget_if_done(run)
        return assignment

    def settle(
        self,
        assignment: Assignment,
        first: int,
        values: list[Any],
        failures: dict[int, Failure],
        now: float,
        *,
        hopeless: bool = False,
    ) -> tuple[list[Part], list[Failure]]:
        """Hand outcomes of an assignment's items, from index `first` on, to its run.

        Failures that are `hopeless` are not tried again.  Returns what may be delivered now, and what failed for good.
        """
        whole = assignment.chunk
        here = first - whole.first
        chunk = Chunk(first, whole.items[here : here + len(values)], whole.attempt, whole.deaths)
        settled = assignment.run.settle(chunk, values, failures, now, hopeless=hopeless)
        self._forget_if_done(assignment.run)
        return settled

    def lose(self, worker: WorkerId) -> list[Assignment]:
        """Forget a dead worker; its chunks go back to their runs.

        Returns the assignments whose single item has now killed a second worker: they have no place to go back to.
        """
        lost = self._workers.pop(worker, None)
        self._hungry.discard(worker)
        if lost is None:
            return []
        hopeless = []
        for run in self.runs.values():
            if run.pinned is not None and (chunk := run.pinned_to(worker)) is not None:
                hopeless.append(Assignment(-1, worker, run, chunk, 0.0, alone=True, expected=0.0))
        for n, assignment in reversed(list(enumerate(lost.calls.values()))):
            self._close(assignment)
            assignment.run.priority -= assignment.expected
            rest = assignment.chunk.rest(assignment.done)
            # calls that last microseconds are answered together, so any of them may have been running
            suspect = n == 0 or assignment.expected < 1e-3
            if not suspect:
                assignment.run.give_back(rest)
            elif rest.items and not assignment.run.split_after_death(rest):
                hopeless.append(assignment)
            self._forget_if_done(assignment.run)
        return hopeless

    def _assign_one(self, worker: WorkerId, now: float) -> Assignment | None:
        state = self._workers[worker]
        load = len(state.calls)
        full = True
        for run in (
            sorted(self.runs.values(), key=lambda run: run.priority)
            if len(self.runs) > 1
            else self.runs.values()
        ):
            if state.alone or load >= run.chunker.window():
                continue
            full = False
            chunk = run.next_chunk(worker, len(self._workers), now, idle=not load)
            if chunk is not None:
                return self._record(worker, state, run, chunk, now)
        if full:
            self._hungry.discard(worker)
        return None

    def _record(
        self, worker: WorkerId, state: _Worker, run: RunState, chunk: Chunk, now: float
    ) -> Assignment:
        expected = (run.chunker.seconds_per_item or 0.0) * len(chunk.items)
        assignment = Assignment(self._next_id, worker, run, chunk, now, not state.calls, expected)
        self._next_id += 1
        run.priority += expected
        run.running += 1
        state.alone = chunk.deaths > 0
        state.calls[assignment.id] = self._calls[assignment.id] = assignment
        return assignment

    def _close(self, assignment: Assignment) -> None:
        del self._calls[assignment.id]
        if (worker := self._workers.get(assignment.worker)) is not None:
            del worker.calls[assignment.id]
            worker.alone = False
            self._hungry.add(assignment.worker)
        assignment.run.running -= 1

    def _forget_if_done(self, run: RunState) -> None:
        if run.done:
            self.runs.pop(run.id, None)
