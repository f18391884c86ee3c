"""The jobs of a dispatcher, from their beginning to their end."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from nbpar.backends.base import Backend, WorkerId
from nbpar.core import events
from nbpar.core.outcome import Failure, Part
from nbpar.core.scheduler import Scheduler
from nbpar.core.windows import Assignment
from nbpar.dispatch.failures import OVERDUE
from nbpar.dispatch.job import Ending, Job
from nbpar.dispatch.workforce import Workforce

LAST_ANSWERS = 0.15
"""Seconds that a stopped run waits for what had finished when its workers were interrupted."""

OVERTIME = 1.0
"""Seconds beyond its `timeout` after which an item that does not stop costs its worker."""

GATHER_WITHIN = 3.0
"""Seconds after which a job for every worker begins with those that are here."""


class Jobs:
    """Jobs under way, by the number of their run."""

    def __init__(self, scheduler: Scheduler, workforce: Workforce, backend: Backend) -> None:
        self._scheduler = scheduler
        self._workforce = workforce
        self._backend = backend
        self._jobs: dict[int, Job] = {}
        self._gathering: list[Job] = []
        """Those that begin when every worker is here."""

        self.now = 0.0
        """The time of the step that is being done."""

        self.idle_since = 0.0
        """When the last one ended."""

    def __iter__(self) -> Iterator[Job]:
        return iter(list(self._jobs.values()))

    def __len__(self) -> int:
        return len(self._jobs)

    def get(self, run: int) -> Job | None:
        """Return the job of a run, unless it is over."""
        return self._jobs.get(run)

    def of(self, run: int) -> Job:
        """Return the job of a run that is under way."""
        return self._jobs[run]

    def running(self) -> dict[WorkerId, str]:
        """Say in words what each busy worker runs; may be called from any thread."""
        words = {}
        for worker in list(self._scheduler.windows):
            try:
                head = self._scheduler.windows.head(worker)
            except RuntimeError:  # it changed while we looked
                continue
            job = self.get(head.run.id) if head is not None else None
            if head is not None and job is not None:
                words[worker] = f"{job.label}, item {head.chunk.first + head.done}"
        return words

    def begin(self, job: Job) -> None:
        """Let a job take part."""
        self._jobs[job.state.id] = job
        job.begun = self.now
        job.sink.emit(events.RunStarted(self.now, job.label, job.total))
        for worker in self._workforce.ready:
            job.sink.emit(self._workforce.joined(worker, self.now))
        if job.everywhere is None:
            self._scheduler.add(job.state)
            self.end_if_done(job.state.id)  # it may be empty
        else:
            self._gathering.append(job)

    def gather(self, *, expecting: bool) -> None:
        """Begin jobs that want every worker, once all are here."""
        here = self._workforce.ready
        for job in list(self._gathering):
            all_here = len(here) >= len(self._backend.describe()) and not expecting
            all_here = all_here and not self._workforce.stopping  # one of them may be on its way out
            if here and (all_here or self.now - job.begun >= GATHER_WITHIN):
                self._gathering.remove(job)
                job.state.pin(here, job.everywhere)
                self._scheduler.add(job.state)

    def emit(self, event: events.Event) -> None:
        """Tell every job of something."""
        for job in self:
            job.sink.emit(event)

    def deliver(self, job: Job, parts: list[Part], failures: list[Failure]) -> None:
        """Hand on what is ready; end the job when it is over or has failed too often."""
        for failure in failures:
            job.failed += 1
            job.sink.emit(events.ItemFailed(self.now, failure))
        parts = [*parts, *job.state.flush()] if job.ending else parts
        if parts:
            job.sink.deliver(parts)
        if failures and (job.fail_fast or (job.max_errors is not None and job.failed > job.max_errors)):
            self.end(job, failures[0].exception)
        else:
            self.end_if_done(job.state.id)

    def end_if_done(self, run: int) -> None:
        """End a job that has nothing left to do."""
        job = self.get(run)
        if job is not None and job.state.done and job not in self._gathering:
            self._scheduler.remove(job.state)
            error = job.ending.error if job.ending else getattr(job.state.source, "error", None)
            self._finish(job, error)

    def end(self, job: Job, error: BaseException | None) -> None:
        """End a job before its time: forget what has not begun, interrupt what runs."""
        if self.get(job.state.id) is not job or job.ending is not None:
            return
        under_way = self._scheduler.remove(job.state)
        by_worker: dict[WorkerId, list[Assignment]] = {}
        for assignment in under_way:
            by_worker.setdefault(assignment.worker, []).append(assignment)
        answer = False
        for worker, assignments in by_worker.items():
            self._workforce.cancel(worker, [assignment.id for assignment in assignments])
            # It may begin with any of them before it hears of that, and be deaf between two of them.
            has, runs = partial(self._has, assignments), partial(self._runs, worker, assignments)
            answer |= self._workforce.stop_item(worker, self.now, has, runs)
        if held := job.state.flush():
            job.sink.deliver(held)
        job.ending = Ending(error, self.now + LAST_ANSWERS)
        if not answer:
            self._finish(job, error)

    def end_overdue(self) -> None:
        """Wait no longer for the last answers of jobs that were stopped."""
        for job in self:
            if job.ending is not None and self.now >= job.ending.until:
                self._finish(job, job.ending.error)

    def kill_overdue(self) -> None:
        """Kill workers whose item does not stop at its time limit: it sits in code that no signal reaches."""
        for worker in self._workforce.ready if any(job.timeout for job in self._jobs.values()) else ():
            head = self._scheduler.windows.head(worker)
            job = self.get(head.run.id) if head is not None else None
            if job is None or job.timeout is None or job.ending is not None:
                continue
            if self._scheduler.windows.silence(worker, self.now) > job.timeout + OVERTIME:
                self._scheduler.condemn(worker)
                self._backend.kill(worker, OVERDUE)

    def abandon(self, error: BaseException) -> None:
        """End every job without a word to the workers."""
        for job in self:
            self._finish(job, error)

    def _has(self, assignments: list[Assignment]) -> bool:
        """Whether one of a worker's calls has not been answered."""
        return any(self._scheduler.windows.call(assignment.id) is not None for assignment in assignments)

    def _runs(self, worker: WorkerId, assignments: list[Assignment]) -> Assignment | None:
        """Return a worker's oldest call if it is one of these."""
        head = self._scheduler.windows.head(worker)
        return head if any(head is assignment for assignment in assignments) else None

    def _finish(self, job: Job, error: BaseException | None) -> None:
        del self._jobs[job.state.id]
        if job in self._gathering:
            self._gathering.remove(job)
        self.idle_since = self.now
        close = getattr(job.state.source, "close", None)
        if close is not None:
            close()
        job.sink.finish(error)
