"""Decide which chunk runs where.

The scheduler is plain state: it starts no thread, reads no clock and talks to no worker.
A driver asks it for assignments, sends them, and reports what came back.  Several runs
share the workers fairly: the run that has used the least time is served first (start-time
fair queuing, Goyal, Vin and Cheng 1996).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Any

from nbpar.core.chunk import Chunk
from nbpar.core.outcome import Failure, Part
from nbpar.core.runstate import RunState
from nbpar.core.windows import Assignment, Window, Windows, WorkerId

CATCH_UP = 0.5
"""Seconds of workers' time that a run which could not use its turn is owed at most."""

SUSPECT = 1e-3
"""Calls shorter than this are answered together: any of them may have been running when their worker died."""


class Scheduler:
    """Runs on one side, workers on the other."""

    def __init__(self) -> None:
        self.runs: dict[int, RunState] = {}
        self._attended: dict[int, RunState] = {}
        self._delayed: dict[int, RunState] = {}
        """Runs that have, or had, retries to come."""

        self.windows = Windows()
        """What workers have under way."""

        self._hungry: dict[WorkerId, None] = {}  # in a fixed order, so that runs can be repeated
        self._served = 0.0
        """The largest priority at which a run was served."""

        self._opens: float | None = None
        """When the next window opens for which there is something."""

    def due(self, now: float) -> float | None:
        """When there is something to do again though nothing arrives; None: only when something does.

        What is overdue waits for a worker, not for the clock.
        """
        times = [due for run in self._delayed.values() if (due := run.due(now)) is not None]
        looks = (self._opens, self.windows.recall_at(now))
        times += [time for time in looks if time is not None and time > now]
        return min(times, default=None)

    @property
    def attended(self) -> list[RunState]:
        """Runs whose inputs have to be looked after; the others may be many."""
        return list(self._attended.values())

    def add(self, run: RunState) -> None:
        """Let a run take part; it is as urgent as what is served now."""
        run.priority = self._served
        self.runs[run.id] = run
        if run.attended:
            self._attended[run.id] = run

    def remove(self, run: RunState) -> list[Assignment]:
        """Forget a run's waiting work; return its calls that are under way."""
        run.cancel()
        if not run.running:
            self._forget(run)
        return self.windows.calls_of(run)

    def join(self, worker: WorkerId) -> None:
        """A worker takes part from now on."""
        self.windows[worker] = Window()
        self._hungry[worker] = None

    def retire(self, worker: WorkerId) -> list[Assignment]:
        """Give a worker nothing more to do; return its calls that have not begun, to be asked back."""
        window = self.windows.get(worker)
        if window is None:
            return []
        window.retiring = True
        self._hungry.pop(worker, None)
        return window.behind

    def hold(self, worker: WorkerId) -> list[int]:
        """Give a worker nothing new until `free`; return its calls behind the one that runs."""
        if (window := self.windows.get(worker)) is None:
            return []
        window.held = True
        return self.windows.behind(worker)

    def free(self, worker: WorkerId) -> None:
        """Undo `hold`."""
        if (window := self.windows.get(worker)) is not None and window.held:
            window.held = False
            if not window.retiring:
                self._hungry[worker] = None

    def assign(self, now: float) -> Iterator[Assignment]:
        """Fill every worker's window, a chunk each in turn, least loaded first."""
        self._opens = None
        if not self.runs:
            return
        hungry = sorted(self._hungry, key=self.windows.load)
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

        With `final` the call is over; what it left undone goes back to its run.  `settle` has to
        follow, also when no item came back: until then the run takes part.
        """
        assignment = self.windows.call(call)
        if assignment is None:
            return None  # its worker was given up before
        run = assignment.run
        assignment.done += values
        if (window := self.windows.get(assignment.worker)) is not None:
            window.heard = now
        run.priority += seconds
        in_one_piece = values == len(assignment.chunk.items)
        wait = now - assignment.sent - seconds if assignment.alone and in_one_piece else None
        run.chunker.learn(values, seconds, moved=moved, round_trip=wait)
        if final:
            self._close(assignment)
            if window is not None:
                window.since = now
            run.give_back(assignment.chunk.rest(assignment.done))
            if run.cancelled:  # nobody will settle its outcomes
                self._forget_if_done(run)
        return assignment

    def settle(
        self,
        assignment: Assignment,
        first: int,
        values: Sequence[Any],
        failures: dict[int, Failure],
        now: float,
        *,
        hopeless: bool = False,
    ) -> tuple[list[Part], list[Failure]]:
        """Hand outcomes of an assignment's items, from index `first` on, to its run.

        Failures that are `hopeless` are not tried again.  Returns what may be delivered now, and what
        failed for good.
        """
        whole = assignment.chunk
        here = first - whole.first
        chunk = Chunk(first, whole.items[here : here + len(values)], whole.attempt, whole.deaths)
        settled = assignment.run.settle(chunk, values, failures, now, hopeless=hopeless)
        if failures:
            self._delayed[assignment.run.id] = assignment.run
        self._forget_if_done(assignment.run)
        return settled

    def lose(self, worker: WorkerId, *, died: bool = True) -> list[Assignment]:
        """Forget a worker; its chunks go back to their runs, untouched unless it `died` of one.

        Returns the assignments that have no place to go back to: of a single item that has now killed
        a second worker, and of items that belong to this worker alone.
        """
        lost = self.windows.pop(worker, None)
        self._hungry.pop(worker, None)
        for run in self.runs.values():
            run.members.pop(worker, None)
        if lost is None:
            return []
        hopeless = []
        for n, assignment in reversed(list(enumerate(lost.calls.values()))):
            self._close(assignment)
            rest = assignment.chunk.rest(assignment.done)
            guilty = died and (n == 0 or assignment.expected < SUSPECT)
            if not guilty:
                assignment.run.give_back(rest)
            elif len(rest.items) and not assignment.run.split_after_death(rest):
                assignment.chunk, assignment.done = rest, 0
                hopeless.append(assignment)
            self._forget_if_done(assignment.run)
        return hopeless + self._orphans(worker)

    def condemn(self, worker: WorkerId) -> None:
        """Give the item that a worker runs no other chance should it die, if it is surely that item."""
        head = self.windows.head(worker)
        if head is not None and len(head.chunk.items) - head.done == 1:
            head.chunk = replace(head.chunk, deaths=max(head.chunk.deaths, 1))

    def _orphans(self, worker: WorkerId) -> list[Assignment]:
        """Take what waits for this worker alone."""
        return [
            Assignment(-1, worker, run, chunk, 0.0, alone=True, expected=0.0)
            for run in self.runs.values()
            if (chunk := run.pinned_to(worker)) is not None
        ]

    def _assign_one(self, worker: WorkerId, now: float) -> Assignment | None:
        window = self.windows[worker]
        load = len(window.calls)
        if load == 1 and now < (opens := window.opens):
            self._note_opening(worker, opens, now)
            return None
        full = True
        for run in () if window.on_trial or window.held else self._neediest_first():
            if not self._admits(run, worker):
                full = False
                continue
            if load < run.chunker.window():
                full = False
                chunk = run.next_chunk(worker, len(self.windows), now, idle=not load)
                if chunk is not None:
                    return self._record(worker, run, chunk, now)
            if load and run.waits(worker, now):
                full = True  # it is served when the worker has less to do: others must not fill it up
                break
        if full:
            self._hungry.pop(worker, None)
        return None

    def _note_opening(self, worker: WorkerId, opens: float, now: float) -> None:
        """Look again when a window opens, if there is something for it."""
        if (self._opens is None or opens < self._opens) and any(
            run.waits(worker, now) for run in self.runs.values()
        ):
            self._opens = opens

    def _admits(self, run: RunState, worker: WorkerId) -> bool:
        """Whether a worker may take part in a run; workers of no other limited run come first."""
        if run.most_workers is None or worker in run.members:
            return True
        if len(run.members) >= run.most_workers:
            return False
        limited = [other for other in self.runs.values() if other.most_workers is not None]
        claimed = {member for other in limited for member in other.members}
        return worker not in claimed or claimed.issuperset(self.windows)

    def _neediest_first(self) -> Iterable[RunState]:
        runs = self.runs.values()
        return sorted(runs, key=attrgetter("priority")) if len(runs) > 1 else runs

    def _record(self, worker: WorkerId, run: RunState, chunk: Chunk, now: float) -> Assignment:
        expected = (run.chunker.seconds_per_item or 0.0) * len(chunk.items)
        run.priority = max(run.priority, self._served - CATCH_UP)
        self._served = max(self._served, run.priority)
        run.priority += expected
        run.running += 1
        run.enrol(worker, self.windows)
        return self.windows.add(worker, run, chunk, now, expected)

    def _close(self, assignment: Assignment) -> None:
        window = self.windows.remove(assignment)
        if window is not None and not window.retiring:
            self._hungry[assignment.worker] = None
        assignment.run.priority -= assignment.expected
        assignment.run.running -= 1

    def _forget_if_done(self, run: RunState) -> None:
        if run.done:
            self._forget(run)

    def _forget(self, run: RunState) -> None:
        for runs in (self.runs, self._attended, self._delayed):
            runs.pop(run.id, None)
