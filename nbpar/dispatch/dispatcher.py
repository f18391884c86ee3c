"""Drive the scheduler: send what it assigns, hand it what comes back.

One thread per pool does this and owns the backend.  Other threads only put requests into
its inbox.  A backend that computes in the caller's own thread is driven by `step` there,
and no thread is started.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from nbpar.backends.base import Backend, WorkerId
from nbpar.core import events
from nbpar.core.outcome import Failure, Part
from nbpar.core.scheduler import Assignment, Scheduler
from nbpar.dispatch.job import Job
from nbpar.dispatch.workforce import INITIALIZER_CALL, Workforce
from nbpar.errors import NoWorkersError, PoolClosedError, WorkerDied
from nbpar.wire.faults import restore
from nbpar.wire.frames import Bye, Call, Done, Load, Lost, Message, Missing, Output, Ready

IDLE = 1.0
"""Seconds without a run after which the workers are let go."""

LOOK_FOR_WORKERS = 0.25
"""Seconds between two looks for workers that have come, while a run is under way."""

PATIENCE = 3.0
"""Seconds without any worker, and none on its way, after which runs fail."""


class Dispatcher:
    """The scheduler's driver."""

    def __init__(
        self,
        backend: Backend,
        *,
        initializer: tuple[Load, tuple[Any, ...]] | None = None,
        expecting: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._backend = backend
        self._clock = clock
        self._expecting = expecting
        self._scheduler = Scheduler()
        self._workforce = Workforce(backend, initializer)
        self._jobs: dict[int, Job] = {}
        self._inbox: deque[Callable[[], None]] = deque()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()  # for starting and closing only
        self._closed = False
        self._ids = itertools.count(1)
        self._idle_since = self._looked = self._seen_workers = clock()
        self._ends: list[str] = []
        self._gathering: list[Job] = []

    # ---- from any thread

    @property
    def blocking(self) -> bool:
        """Whether whoever waits has to call `step`."""
        return self._backend.blocking

    def new_id(self) -> int:
        """Return a number for a new run."""
        return next(self._ids)

    def start(self, job: Job) -> None:
        """Let a job begin."""
        with self._lock:
            if self._closed:
                raise PoolClosedError("the pool is closed; make a new one with nbpar.Pool(...)")
            if self._thread is None and not self.blocking:
                self._thread = threading.Thread(target=self._main, name="nbpar dispatcher", daemon=True)
                self._thread.start()
        self.request(lambda: self._begin(job))

    def stop(self, job: Job, error: BaseException | None) -> None:
        """End a job: forget what has not begun, interrupt what runs; its sink is told `error`."""
        self.request(lambda: self._end(job, error))

    def request(self, action: Callable[[], None]) -> None:
        """Have something done in the dispatcher's thread, soon."""
        self._inbox.append(action)
        self._backend.wake()

    def close(self, timeout: float = 5.0) -> None:
        """End all jobs, let the workers go, end the thread.  May be called twice."""
        with self._lock:
            self._closed = True
        thread = self._thread
        if thread is None:
            self._close_down(PoolClosedError("the pool was closed before the run was over"))
        elif thread is not threading.current_thread():
            self._backend.wake()
            thread.join(timeout)

    # ---- the thread

    def step(self) -> None:
        """Do what can be done now, and wait for what comes next."""
        while self._inbox:
            self._inbox.popleft()()
        now = self._clock()
        self._look_for_workers(now)
        if self._gathering:
            self._gather(now)
        self._assign(now)
        self._workforce.stop_again(now)
        arrived = self._backend.receive(self._timeout(now))
        now = self._clock()
        for worker, message in arrived:
            self._take(worker, message, now)

    def _main(self) -> None:
        error: BaseException = PoolClosedError("the pool was closed before the run was over")
        try:
            while not self._closed:
                self.step()
        except BaseException as bug:  # a bug here must not leave anybody waiting
            self._closed = True
            error = bug
            raise
        finally:
            self._close_down(error)

    def _close_down(self, error: BaseException) -> None:
        while self._inbox:
            self._inbox.popleft()()
        for job in list(self._jobs.values()):
            self._end(job, error)
        self._backend.close()

    def _timeout(self, now: float) -> float | None:
        """Seconds until something has to be done in any case."""
        if self._inbox or self._closed:
            return 0.0
        times = []
        if (due := self._scheduler.due()) is not None:
            times.append(due - now)
        if self._jobs:
            times.append(LOOK_FOR_WORKERS)
        elif len(self._workforce):
            times.append(self._idle_since + IDLE - now)
        if self._workforce.stopping:
            times.append(0.05)
        return max(0.0, min(times)) if times else None

    def _look_for_workers(self, now: float) -> None:
        if not self._jobs:
            if len(self._workforce) and now - self._idle_since > IDLE:
                for worker in self._workforce.release_all():
                    self._scheduler.lose(worker)
            return
        self._idle_since = now
        if now - self._looked > LOOK_FOR_WORKERS or not len(self._workforce):
            self._looked = now
            self._backend.acquire()
        if len(self._workforce) or self._expecting():
            self._seen_workers = now
        elif now - self._seen_workers > PATIENCE:
            self._give_up()

    def _give_up(self) -> None:
        ends = "; ".join(self._ends[-4:]) or "none ever came"
        for job in list(self._jobs.values()):
            self._end(job, NoWorkersError(
                f"no worker is left ({ends}); finished results are kept in nbpar.last_run.results()"
            ))  # fmt: skip

    def _assign(self, now: float) -> None:
        workers = max(len(self._workforce), 1)
        for state in list(self._scheduler.runs.values()):
            state.ask(workers)
            self._end_if_done(state.id)
        for assignment in self._scheduler.assign(now):
            job = self._jobs[assignment.run.id]
            chunk = assignment.chunk
            self._workforce.post(assignment.worker, job.load, self._call(assignment))
            job.sink.emit(events.ChunkSent(
                now, assignment.worker, assignment.id, chunk.first, len(chunk.items), chunk.attempt
            ))  # fmt: skip
        self._workforce.send()

    def _call(self, assignment: Assignment) -> Call:
        chunk = assignment.chunk
        return self._jobs[assignment.run.id].call(assignment.id, chunk.first, chunk.items)

    # ---- what arrives

    def _take(self, worker: WorkerId, message: Message, now: float) -> None:
        if isinstance(message, Done):
            self._take_done(worker, message, now)
        elif isinstance(message, Output):
            self._take_output(message, now)
        elif isinstance(message, Ready):
            if self._workforce.arrive(worker, message.facts):
                self._join(worker, now)
        elif isinstance(message, Missing):
            self._load_again(worker, message)
        elif isinstance(message, Bye):
            self._part(worker, events.WorkerLeft(now, worker))
        elif isinstance(message, Lost):
            self._take_loss(worker, message.reason, now)

    def _join(self, worker: WorkerId, now: float) -> None:
        self._scheduler.join(worker)
        for job in self._jobs.values():
            job.sink.emit(self._joined(worker, now))

    def _joined(self, worker: WorkerId, now: float) -> events.WorkerJoined:
        facts = self._workforce.facts(worker)
        return events.WorkerJoined(now, worker, str(facts.get("host", "")), int(facts.get("pid", 0)))

    def _take_done(self, worker: WorkerId, done: Done, now: float) -> None:
        if done.id == INITIALIZER_CALL:
            self._take_initialized(worker, done, now)
            return
        values = list(done.values)
        assignment = self._scheduler.answer(
            done.id, len(values), done.seconds, now, final=done.final, moved=done.moved
        )
        job = self._jobs.get(assignment.run.id) if assignment is not None else None
        if assignment is None or job is None:
            return  # its run was stopped
        failures = {done.first + place: self._failure(job, assignment, done, place) for place in done.faults}
        parts, final = self._scheduler.settle(assignment, done.first, values, failures, now)
        job.sink.emit(events.ItemsDone(
            now, worker, done.id, done.first, len(values), len(final), len(failures) - len(final), done.seconds,
            done.each, done.moved, done.memory, done.final, job.state.chunker.current,
        ))  # fmt: skip
        self._deliver(job, parts, final, now)

    def _failure(self, job: Job, assignment: Assignment, done: Done, place: int) -> Failure:
        fault = done.faults[place]
        index = done.first + place
        return Failure(
            index, assignment.chunk.items[index - assignment.chunk.first], restore(fault), fault.text,
            worker=assignment.worker, seconds=done.each[place] if place < len(done.each) else 0.0,
            attempts=assignment.chunk.attempt, function=job.function, spread=job.spread,
        )  # fmt: skip

    def _deliver(self, job: Job, parts: list[Part], failures: list[Failure], now: float) -> None:
        """Hand on what is ready; end the job when it is over or has failed too often."""
        for failure in failures:
            job.failed += 1
            job.sink.emit(events.ItemFailed(now, failure))
        if parts:
            job.sink.deliver(parts)
        if failures and (job.fail_fast or (job.max_errors is not None and job.failed > job.max_errors)):
            self._end(job, failures[0].exception)
        else:
            self._end_if_done(job.state.id)

    def _take_output(self, output: Output, now: float) -> None:
        assignment = self._scheduler.call(output.call)
        job = self._jobs.get(assignment.run.id) if assignment is not None else None
        if job is not None:
            for index, stream, text in output.lines:
                job.sink.emit(events.ItemPrinted(now, index, stream, text))

    def _take_initialized(self, worker: WorkerId, done: Done, now: float) -> None:
        if self._workforce.initialized(worker, done):
            self._join(worker, now)
            return
        error = restore(done.faults[0])
        for job in list(self._jobs.values()):
            self._end(job, error)

    def _load_again(self, worker: WorkerId, missing: Missing) -> None:
        self._workforce.forget_function(worker, missing.digest)
        for call in missing.calls:
            assignment = self._scheduler.call(call)
            if assignment is not None and assignment.run.id in self._jobs:
                self._workforce.post(worker, self._jobs[assignment.run.id].load, self._call(assignment))

    def _take_loss(self, worker: WorkerId, reason: str, now: float) -> None:
        self._ends.append(f"{worker}: {reason}")
        hopeless = self._scheduler.lose(worker)
        self._part(worker, events.WorkerLost(now, worker, reason))
        for assignment in hopeless:
            if (job := self._jobs.get(assignment.run.id)) is not None:
                failure = _death(job, assignment, worker, reason)
                parts, final = self._scheduler.settle(
                    assignment, failure.index, [None], {failure.index: failure}, now, hopeless=True
                )
                self._deliver(job, parts, final, now)

    def _part(self, worker: WorkerId, event: events.Event) -> None:
        self._scheduler.lose(worker)
        self._workforce.leave(worker)
        for job in self._jobs.values():
            job.sink.emit(event)

    # ---- begin and end of jobs

    def _begin(self, job: Job) -> None:
        now = self._clock()
        if not self._jobs:
            self._seen_workers = now
        self._jobs[job.state.id] = job
        job.begun = now
        job.sink.emit(events.RunStarted(now, job.label, job.total))
        for worker in self._workforce.ready:
            job.sink.emit(self._joined(worker, now))
        if job.everywhere is None:
            self._scheduler.add(job.state)
        else:
            self._gathering.append(job)

    def _gather(self, now: float) -> None:
        """Begin jobs that want every worker, once all are here."""
        here = self._workforce.ready
        for job in list(self._gathering):
            all_here = len(here) >= len(self._backend.describe()) and not self._expecting()
            if here and (all_here or now - job.begun > PATIENCE):
                self._gathering.remove(job)
                job.state.pin(here, job.everywhere)
                self._scheduler.add(job.state)

    def _end_if_done(self, run: int) -> None:
        job = self._jobs.get(run)
        if job is not None and job.state.done and job not in self._gathering:
            self._scheduler.remove(job.state)
            self._finish(job, getattr(job.state.source, "error", None))

    def _end(self, job: Job, error: BaseException | None) -> None:
        """End a job before its time."""
        if self._jobs.get(job.state.id) is not job:
            return
        under_way = self._scheduler.remove(job.state)
        by_worker: dict[WorkerId, list[Assignment]] = {}
        for assignment in under_way:
            by_worker.setdefault(assignment.worker, []).append(assignment)
        now = self._clock()
        for worker, assignments in by_worker.items():
            self._workforce.cancel(worker, [assignment.id for assignment in assignments])
            if self._scheduler.head(worker) is assignments[0]:
                self._workforce.stop_item(worker, now, partial(self._under_way, assignments[0].id))
        if held := job.state.flush():
            job.sink.deliver(held)
        self._finish(job, error)

    def _under_way(self, call: int) -> bool:
        return self._scheduler.call(call) is not None

    def _finish(self, job: Job, error: BaseException | None) -> None:
        del self._jobs[job.state.id]
        if job in self._gathering:
            self._gathering.remove(job)
        self._idle_since = self._clock()
        close = getattr(job.state.source, "close", None)
        if close is not None:
            close()
        job.sink.finish(error)


def _death(job: Job, assignment: Assignment, worker: WorkerId, reason: str) -> Failure:
    chunk = assignment.chunk
    item: Any = chunk.items[0]
    died = WorkerDied(
        f"item {chunk.first} killed its worker twice (the second time {worker}: {reason})",
        chunk.first,
        item,
        reason,
    )
    return Failure(
        chunk.first,
        item,
        died,
        worker=worker,
        attempts=chunk.deaths + 1,
        function=job.function,
        spread=job.spread,
    )
