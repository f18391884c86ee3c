"""Workers that do not answer: tell, let others begin their items, and stop what is not wanted any more."""

from __future__ import annotations

from functools import partial

from nbpar.backends.base import Backend, WorkerId
from nbpar.core import events
from nbpar.core.scheduling.runstate import RunState
from nbpar.core.scheduling.scheduler import Scheduler
from nbpar.core.scheduling.windows import Assignment
from nbpar.dispatch.jobs import Jobs
from nbpar.dispatch.workforce import Workforce
from nbpar.wire.messages import Answering, Done, Silent


class SilentWorkers:
    """Acts on what `core.silence` decides."""

    def __init__(self, scheduler: Scheduler, workforce: Workforce, backend: Backend, jobs: Jobs) -> None:
        self._scheduler = scheduler
        self._workforce = workforce
        self._backend = backend
        self._jobs = jobs

    def take(self, worker: WorkerId, message: Silent | Answering, now: float) -> None:
        """A worker does not answer, or does again."""
        if isinstance(message, Silent):
            self._begin(worker, now)
        elif worker in self._scheduler.silence:
            self._end(worker, now)

    def _begin(self, worker: WorkerId, now: float) -> None:
        if worker in self._scheduler.windows:
            self._scheduler.silence.begin(worker)
            self._workforce.silent.add(worker)
            self._jobs.emit(events.WorkerSilent(now, worker))

    def _end(self, worker: WorkerId, now: float) -> None:
        """Give a worker work again, and stop there what others have finished meanwhile."""
        over = self._scheduler.silence.end(worker)
        self._workforce.silent.discard(worker)
        self._scheduler.reopen(worker)
        self._jobs.emit(events.WorkerAnswering(now, worker))
        for call in over:
            self._stop(call, now)

    def end_superseded(self, call: Assignment, done: Done, now: float) -> None:
        """Take the answer of a call that is superseded."""
        if done.final:
            self._scheduler.drop(call.id)
        if (job := self._jobs.get(call.run.id)) is not None:
            job.sink.emit(events.ItemsDone(
                now, call.worker, call.id, done.first, 0, 0, 0, 0.0, (), 0, done.memory, done.final,
                job.state.chunker.current,
            ))  # fmt: skip

    def supersede(self, run: RunState, now: float) -> None:
        """Stop calls whose items others have finished; those of silent workers when they answer again."""
        for call in self._scheduler.silence.supersede(run):
            self._workforce.cancel(call.worker, [call.id])
            if call.worker not in self._scheduler.silence:
                self._stop(call, now)
        self._jobs.end_if_done(run.id)

    def interrupt(self) -> None:
        """Interrupt what silent workers run that is not wanted any more, before they are released."""
        for worker in self._workforce.silent:
            head = self._scheduler.windows.head(worker)
            if head is not None and head.superseded:
                self._backend.interrupt(worker)

    def _stop(self, call: Assignment, now: float) -> None:
        """Interrupt a worker as long as it runs a call; it is not killed, since it has done nothing wrong."""
        has, runs = partial(self._has, call), partial(self._runs, call)
        self._workforce.stop_item(call.worker, now, has, runs, kill=False)

    def _has(self, call: Assignment) -> bool:
        return self._scheduler.windows.call(call.id) is call

    def _runs(self, call: Assignment) -> Assignment | None:
        return call if self._scheduler.windows.head(call.worker) is call else None


def fresh_parts(run: RunState, done: Done) -> list[Done]:
    """Return an answer without the items of which another worker's outcome was first, as several ones.

    There is always one, which may have no items: a call may be over.
    """
    place = range(done.first, done.first + len(done.values))
    ranges = run.speculation.fresh(place) or [range(done.first, done.first)]
    return [_part(done, part, last=part is ranges[-1]) for part in ranges]


def _part(done: Done, part: range, *, last: bool) -> Done:
    """Return a part of an answer; only the last one ends the call."""
    start, stop = part.start - done.first, part.stop - done.first
    share = len(part) / max(len(done.values), 1)
    return done._replace(
        first=part.start,
        values=done.values[start:stop],
        faults={at - start: fault for at, fault in done.faults.items() if start <= at < stop},
        each=done.each[start:stop],
        seconds=done.seconds * share,
        moved=int(done.moved * share),
        final=done.final and last,
    )
