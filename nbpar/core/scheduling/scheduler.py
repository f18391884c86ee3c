"""Decide which worker runs which chunk.

The scheduler is plain state: it starts no thread, reads no clock and talks to no worker.
A driver asks it for assignments, sends them, and reports the answers.  Several runs
share the workers fairly: the run that has used the least time is served first (start-time
fair queuing, Goyal, Vin and Cheng 1996).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from typing import Any

from nbpar.core.chunking import Chunk
from nbpar.core.outcome import Failure, Part
from nbpar.core.rates import starts
from nbpar.core.scheduling.admission import chunk_for, starved_chunk_for
from nbpar.core.scheduling.needs import ANYWHERE, Host
from nbpar.core.scheduling.ready import ReadyRuns
from nbpar.core.scheduling.runstate import RunState
from nbpar.core.scheduling.silence import Silence
from nbpar.core.scheduling.solitude import Solitude
from nbpar.core.scheduling.windows import Assignment, Window, Windows, WorkerId

CATCH_UP = 0.5
"""Maximal credit, in seconds of workers' time, of a run that could not use its turn."""


class Scheduler:
    """Assigns the chunks of runs to workers.

    The cost of a step grows with the events since the last one, not with the runs and workers:
    runs without work, and workers with full windows, are not visited.
    """

    def __init__(self) -> None:
        self.runs: dict[int, RunState] = {}
        self._attended: dict[int, RunState] = {}
        self._limited: dict[int, RunState] = {}
        """Runs limited to some of the workers, or with items for certain workers."""

        self._needing: dict[int, RunState] = {}
        """Runs whose items need something of their hosts."""

        self._touched: dict[int, RunState] = {}
        """Attended runs with events since they were last attended to."""

        self._delayed: list[tuple[float, int, RunState]] = []
        """Times of runs' next retries: a heap, possibly with stale entries."""

        self.windows = Windows()
        """The chunks in flight of each worker."""

        self.silence = Silence(self.windows)
        self._solitude = Solitude(self.windows)
        self._ready = ReadyRuns()
        self._hungry: dict[WorkerId, None] = {}  # in a fixed order, so that runs are reproducible
        self._shut: list[tuple[float, int, WorkerId]] = []
        """Times at which the windows of workers with one call open: a heap, likewise."""

        self._shut_by: dict[WorkerId, int] = {}
        """Number of a worker's entry there."""

        self._number = 0
        self._served = 0.0
        """Largest priority at which a run was served."""

        self.asked: RunState | None = None
        """The run that is being asked for its next chunk by `assign`."""

    def due(self, now: float) -> float | None:
        """Time of the next step if no message arrives; None: only after a message.

        Overdue work waits for a worker, not for the clock.
        """
        self._let_retry(now)
        looks = (
            self._delayed[0][0] if self._delayed else None,
            self._opening() if self._ready.runs else None,
            self.windows.recall_at(now),
        )
        return min((time for time in looks if time is not None and time > now), default=None)

    @property
    def attended(self) -> list[RunState]:
        """Runs whose inputs need attention."""
        return list(self._attended.values())

    def take_touched(self) -> list[RunState]:
        """Return those with events since the last call."""
        touched, self._touched = self._touched, {}
        return list(touched.values())

    def touch(self, run: RunState) -> None:
        """Note that a run may have work again, or that its input has changed."""
        if run.id in self.runs:
            self.enter(run)
            if run.id in self._attended:
                self._touched[run.id] = run

    def touch_attended(self) -> None:
        """Do so for every run whose input needs attention."""
        for run in self._attended.values():
            self.touch(run)

    def enter(self, run: RunState) -> None:
        """Note that a run may have work."""
        if run.id in self.runs:
            self._ready.add(run)

    def add(self, run: RunState) -> None:
        """Add a run, with the priority of the run served now."""
        run.priority, run.watcher = self._served, self
        self.runs[run.id] = run
        if run.attended:
            self._attended[run.id] = run
        if run.most_workers is not None or run.pinned is not None:
            self._limited[run.id] = run
        if run.claim is not None:
            self._needing[run.id] = run
        self._hungry.update(dict.fromkeys(self.windows.beside(run)))
        self.touch(run)

    def remove(self, run: RunState) -> list[Assignment]:
        """Remove a run's waiting work; return its calls in flight."""
        run.cancel()
        if run.running:
            return self.windows.calls_of(run)
        self._forget(run)
        return []

    def join(self, worker: WorkerId, host: Host = ANYWHERE) -> None:
        """Add a worker, which is on a host."""
        self.windows[worker] = Window(host=host)
        self._hungry[worker] = None
        for run in self.runs.values():
            if run.streaming:  # their look-ahead depends on the number of workers
                self.touch(run)

    def retire(self, worker: WorkerId) -> list[Assignment]:
        """Give a worker no more work; return its calls that have not started, to be recalled."""
        window = self.windows.get(worker)
        if window is None:
            return []
        window.retiring = True
        self.windows.leave_lines(self._needing, window.host)
        self._hungry.pop(worker, None)
        self._shut_by.pop(worker, None)
        return window.behind

    def hold(self, worker: WorkerId) -> list[int]:
        """Give a worker no new work until `free`; return its calls behind the running one."""
        if (window := self.windows.get(worker)) is None:
            return []
        window.held = True
        self.windows.leave_lines(self._needing, window.host)
        return self.windows.behind(worker)

    def free(self, worker: WorkerId) -> None:
        """Undo `hold`."""
        if (window := self.windows.get(worker)) is not None and window.held:
            window.held = False
            self.reopen(worker)

    def reopen(self, worker: WorkerId) -> None:
        """Give a worker work again, unless there is another reason to give it none."""
        if (window := self.windows.get(worker)) is not None and window.open:
            self._hungry[worker] = None

    def assign(self, now: float) -> Iterator[Assignment]:
        """Fill every worker's window, a chunk each in turn, least loaded first."""
        self.asked = None
        self._let_retry(now)
        if not (self._ready.runs or self._solitude.needed):
            return
        self._let_open(now)
        hungry = sorted(self._hungry, key=self.windows.load)
        while hungry and (self._ready.runs or self._solitude.needed):
            fed = []
            for worker in hungry:
                if (assignment := self._assign_to(worker, now)) is not None:
                    fed.append(worker)
                    self.asked = None
                    yield assignment
                elif not (self._ready.runs or self._solitude.needed):
                    break
            hungry = fed
        self.asked = None

    def answer(
        self,
        assignment: Assignment,
        values: int,
        seconds: float,
        now: float,
        *,
        final: bool,
        moved: int = 0,
        each: Sequence[float] = (),
        struck: bool = False,
    ) -> None:
        """Record outcomes of the next `values` items of a call in flight.

        With `final` the call is over; its remaining items return to its run.  `settle` must
        follow, also without outcomes: until then the run is kept.
        """
        run = assignment.run
        if assignment.permits:
            starts.answered(assignment, values, each, now, final=final, struck=struck)
        assignment.done += values
        window = self.windows[assignment.worker]
        window.heard = now
        run.priority += seconds
        timely = (assignment.alone or run.chunker.concurrency) and values == len(assignment.chunk.items)
        wait = now - assignment.sent - seconds if timely else None
        run.chunker.learn(values, seconds, moved=moved, round_trip=wait)
        if final:
            self._close(assignment)
            window.since = now
            if assignment.done < len(assignment.chunk.items):
                run.give_back(assignment.chunk.rest(assignment.done))
            if run.cancelled:  # its outcomes will not be settled
                self._forget_if_done(run)
        if run.streaming or run.id in self._attended:  # its look-ahead depends on how short its items are
            self.touch(run)

    def shorten(self, call: int, items: int) -> None:
        """Handle a call that ends after its first `items`; the others were not begun.

        They go back to their run, in as many parts as workers have nothing to do.
        """
        if (assignment := self.windows.call(call)) is not None:
            starts.cut(assignment, items)
            rest, assignment.chunk = assignment.chunk.rest(items), assignment.chunk.head(items)
            for part in reversed(rest.parts(max(self.windows.idle, 1))):
                assignment.run.give_back(part)

    def begun(self, call: int, items: int, age: float, now: float) -> None:
        """Record that the first `items` of a call began some seconds ago, in a run at a limited rate."""
        if (assignment := self.windows.call(call)) is not None and assignment.permits:
            starts.began(assignment, items, age, now)

    def lose_permits(self) -> None:
        """Give up all calls: nothing will be heard of them, and others may share their rates and hosts."""
        for worker in self.windows:
            for assignment in list(self.windows[worker].calls.values()):
                starts.lost(assignment)
                if assignment.run.claim is not None:
                    assignment.run.claim.close()

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
        """Pass outcomes of an assignment's items, from index `first` on, to its run.

        Failures that are `hopeless` are not retried.  Returns the deliverable part, and
        permanent failures.
        """
        whole = assignment.chunk
        here, count = first - whole.first, len(values)
        chunk = whole if count == len(whole.items) else whole.rest(here).head(count)
        settled = assignment.run.settle(chunk, values, failures, now, hopeless=hopeless)
        if failures:
            self._delay(assignment.run)
        self._forget_if_done(assignment.run)
        return settled

    def lose(self, worker: WorkerId, *, died: bool = True, starved: bool = False) -> list[Assignment]:
        """Remove a worker; its chunks return to their runs, unchanged unless it `died` of one.

        If it was `starved` of memory, that one is tried with nothing else on its host.

        Returns the assignments that cannot be returned: of a single item that has now killed
        a second worker, and of items that belong to this worker alone.
        """
        lost = self.windows.lose(worker)
        self.silence.end(worker)
        self._hungry.pop(worker, None)
        self._shut_by.pop(worker, None)
        for run in self._limited.values():
            run.members.pop(worker, None)
        if lost is None:
            return []
        self.windows.leave_lines(self._needing, lost.host)
        hopeless = []
        suspects = lost.suspects if died else ()
        for assignment in reversed(list(lost.calls.values())):
            self._close(assignment)
            if assignment.superseded:
                continue
            rest = assignment.chunk.rest(assignment.done)
            if assignment.id not in suspects:
                assignment.run.give_back(rest)
            elif len(rest.items) and not assignment.run.split_after_death(rest, starved=starved):
                assignment.chunk, assignment.done = rest, 0
                hopeless.append(assignment)
            self._solitude.add(assignment.run)
            self._forget_if_done(assignment.run)
        return hopeless + self._orphans(worker)

    def drop(self, call: int) -> None:
        """Drop a call that was never sent, or whose answer is unusable; its items are lost."""
        if (assignment := self.windows.call(call)) is not None:
            self._close(assignment)
            self._forget_if_done(assignment.run)

    def _orphans(self, worker: WorkerId) -> list[Assignment]:
        """Return the chunks reserved for this worker."""
        return [
            Assignment(-1, worker, run, chunk, 0.0, alone=True, expected=0.0)
            for run in self._limited.values()
            if (chunk := run.pinned_to(worker)) is not None
        ]

    def _assign_to(self, worker: WorkerId, now: float) -> Assignment | None:
        """Give a worker its next chunk, unless its host is one chunk's alone, or is to be."""
        if not self._solitude.needed:
            return self._assign_one(worker, now)
        host = self.windows[worker].host
        run = self._solitude.keep(host, now, lambda run: self._admits(run, worker))
        if run is None:
            return None if self._solitude.is_taken(host) else self._assign_one(worker, now)
        self.asked = run
        if not (self._solitude.is_empty(host) and self._admits(run, worker)):
            return None
        if (chunk := starved_chunk_for(run, worker, host, now)) is None:
            return None
        assignment = self._record(worker, run, chunk, now)
        self._solitude.began(assignment)
        return assignment

    def _assign_one(self, worker: WorkerId, now: float) -> Assignment | None:
        window = self.windows[worker]
        load = len(window.calls)
        if load == 1 and now < (opens := window.opens):
            self._shut_until(worker, opens)
            return None
        full: bool | None = True if window.on_trial or not window.open else None
        for run in () if full else self._ready.neediest_first():
            self.asked = run
            if not self._admits(run, worker):
                full = False
                continue
            mine = window.coroutines if run.chunker.concurrency else load - window.coroutines
            mixed = mine > 0 and run.claim is not None and run.claim.is_mixed(worker, mine)
            if mine < run.chunker.window and not mixed:
                full = False
                if (assignment := self._offer(run, worker, now)) is not None:
                    return assignment
            if run.idle(now):
                self._discard(run)
                continue
            if mine and not run.chunker.concurrency and run.waits(worker, now):
                if full := not mixed or window.host.has_room(run.claim):
                    break  # it is served when the worker has less work: others must not fill it up
                continue
            full = full is not False
        if full:
            self._hungry.pop(worker, None)
        return None

    def _offer(self, run: RunState, worker: WorkerId, now: float) -> Assignment | None:
        """Give a worker the next chunk of a run, if there is one that may begin."""
        window, workers = self.windows[worker], len(self.windows)
        if run.gate is None and run.claim is None:
            chunk = run.next_chunk(worker, workers, now, idle=not window.calls)
        else:
            chunk = chunk_for(run, worker, window.host, workers, now, idle=not window.calls)
        if chunk is not None:
            return self._record(worker, run, chunk, now)
        if run.id in self._attended and run.source.ended:
            self._touched[run.id] = run  # perhaps just now, when it was read
        return None

    def _discard(self, run: RunState) -> None:
        """Note that a run has no work until it is entered again, or until its rate lets items begin."""
        self._ready.discard(run)
        if run.gate is not None:
            self._delay(run)

    def _shut_until(self, worker: WorkerId, opens: float) -> None:
        """Give a worker no more work until a given time."""
        self._number += 1
        self._hungry.pop(worker, None)
        self._shut_by[worker] = self._number
        heappush(self._shut, (opens, self._number, worker))

    def _let_open(self, now: float) -> None:
        """Update the set of workers whose windows are open."""
        while self._shut and self._shut[0][0] <= now:
            _, number, worker = heappop(self._shut)
            if self._shut_by.get(worker) == number:
                del self._shut_by[worker]
                self._hungry[worker] = None

    def _opening(self) -> float | None:
        """Return when the next window opens."""
        while self._shut and self._shut_by.get(self._shut[0][2]) != self._shut[0][1]:
            heappop(self._shut)
        return self._shut[0][0] if self._shut else None

    def _delay(self, run: RunState) -> None:
        """Note when a run's next retry is due."""
        due = run.next_retry
        if due is not None and run.retry_noted != due:
            self._number += 1
            run.retry_noted = due
            heappush(self._delayed, (due, self._number, run))

    def _let_retry(self, now: float) -> None:
        """Reconsider the runs with a retry that is due; drop stale entries."""
        delayed = self._delayed
        while delayed and (delayed[0][0] <= now or delayed[0][0] != delayed[0][2].next_retry):
            due, _, run = heappop(delayed)
            if run.retry_noted == due:  # it may be due then again
                run.retry_noted = None
            self.enter(run)

    def _admits(self, run: RunState, worker: WorkerId) -> bool:
        """Whether a worker may serve a run; workers of no other limited run come first.

        A worker that two limited runs had to share is left by one of them as soon as another is there.
        """
        if run.claim is not None and not self.windows[worker].host.fits(run.claim.needs):
            return False
        if run.most_workers is None:
            return True
        claims = self.windows.claims
        if worker in run.members:
            return claims[worker] < 2 or not self.windows.spare
        if run.admits(worker):
            return not claims[worker] or all(claims[other] for other in self.windows)
        return self.windows.relieves(worker, run) and self.windows.left_by(run) is not None

    def _enroll(self, run: RunState, worker: WorkerId) -> None:
        """Make a worker one of a limited run's, perhaps in place of one that it shared."""
        if run.most_workers is None or worker in run.members:
            return
        if not run.admits(worker) and (left := self.windows.left_by(run)) is not None:
            del run.members[left]
            self.windows.claims[left] -= 1
        run.enroll(worker, self.windows)
        self.windows.claims[worker] += 1

    def _record(self, worker: WorkerId, run: RunState, chunk: Chunk, now: float) -> Assignment:
        expected = (run.chunker.seconds_per_item or 0.0) * len(chunk.items)
        run.priority = max(run.priority, self._served - CATCH_UP)
        self._served = max(self._served, run.priority)
        run.priority += expected
        run.running += 1
        self._enroll(run, worker)
        if run.id in self._attended:
            self._touched[run.id] = run
        if run.retry.times:
            self._delay(run)
        if not run.streaming and run.source.ended and run.idle(now):
            self._ready.discard(run)
        assignment = self.windows.add(worker, run, chunk, now, expected)
        if self._needing:
            self.windows.leave_lines(self._needing, self.windows[worker].host)
        if run.gate is not None:
            assignment.permits = len(chunk.items)
        return assignment

    def _close(self, assignment: Assignment) -> None:
        if self._solitude.calls:
            self._solitude.over(assignment)
        window = self.windows.remove(assignment)
        if window is not None and not window.retiring:
            self._hungry[assignment.worker] = None
        self._shut_by.pop(assignment.worker, None)
        if assignment.permits:
            starts.lost(assignment)
        if assignment.run.claim is not None:
            assignment.run.claim.end(assignment.worker)
        assignment.run.priority -= assignment.expected
        assignment.run.running -= not assignment.superseded
        self._ready.correct(assignment.run)

    def _forget_if_done(self, run: RunState) -> None:
        if run.done:
            self._forget(run)

    def _forget(self, run: RunState) -> None:
        self._ready.discard(run)
        self._solitude.remove(run)
        if run.id in self._limited:
            self.windows.claims.subtract(run.members.keys())
        if run.claim is not None:
            run.claim.leave()
        for runs in (self.runs, self._attended, self._limited, self._needing, self._touched):
            runs.pop(run.id, None)
