"""Drive the scheduler: send what it assigns, hand it what comes back.

Plain calls in one thread: whoever owns the driver asks it what to send, and tells it what
arrived.  It starts no thread and waits for nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from nbpar.backends.base import Backend, WorkerId
from nbpar.core import events
from nbpar.core.outcome import Failure, Part
from nbpar.core.runstate import RunState
from nbpar.core.scheduler import Assignment, Scheduler
from nbpar.dispatch.job import Ending, Job
from nbpar.dispatch.workforce import INITIALIZER_CALL, Workforce
from nbpar.errors import ItemTimeoutError, NoWorkersError, WorkerDied
from nbpar.wire.faults import restore
from nbpar.wire.frames import Bye, Call, Done, Lost, Message, Missing, Output, Ready
from nbpar.wire.packed_items import PackedItems

IDLE = 1.0
"""Seconds without a run after which the workers are let go."""

LOOK_FOR_WORKERS = 0.25
"""Seconds between two looks for workers that have come, while a run is under way."""

LAST_ANSWERS = 0.15
"""Seconds that a stopped run waits for what had finished when its workers were interrupted."""

LOOK_FOR_RECALLS = 0.06
"""The same while some workers have calls waiting and others have nothing to do."""

OVERTIME = 1.0
"""Seconds beyond its `timeout` after which an item that does not stop costs its worker."""

OVERDUE = "killed because its item did not stop at its time limit"

PATIENCE = 3.0
"""Seconds without any worker, and none on its way, after which runs fail."""


class Driver:
    """The runs and workers of one pool."""

    def __init__(
        self,
        backend: Backend,
        workforce: Workforce,
        *,
        expecting: Callable[[], bool],
        problem: Callable[[], str],
        now: float,
    ) -> None:
        self._backend = backend
        self._workforce = workforce
        self._expecting = expecting
        self._problem = problem
        self._scheduler = Scheduler()
        self._jobs: dict[int, Job] = {}
        self._gathering: list[Job] = []
        """Jobs that begin when every worker is here."""

        self._idle_since = self._looked = self._seen_workers = self._now = now
        self._ends: list[str] = []
        self._retiring: dict[WorkerId, Callable[[WorkerId], None]] = {}

    @property
    def jobs(self) -> list[Job]:
        """Jobs under way."""
        return list(self._jobs.values())

    # ---- steps

    def prepare(self, now: float) -> None:
        """Look after the workers and send them what there is to do."""
        self._now = now
        self._look_for_workers(now)
        self._gather(now)
        self._assign(now)
        self._workforce.stop_again(now)
        self._end_overdue(now)
        self._kill_overdue(now)
        if self._retiring:
            self._release_retired()

    def take(self, arrived: list[tuple[WorkerId, Message]], now: float) -> None:
        """Take in what workers have said."""
        self._now = now
        for worker, message in arrived:
            self._take(worker, message, now)

    def pause_before(self, now: float) -> float | None:
        """Seconds until `prepare` has something to do in any case; None: only when something arrives."""
        times = []
        if (due := self._scheduler.due(now)) is not None:
            times.append(due - now)
        if self._jobs:
            times.append(LOOK_FOR_RECALLS if self._scheduler.uneven else LOOK_FOR_WORKERS)
        elif self._workforce.present:
            times.append(self._idle_since + IDLE - now)
        if self._workforce.stopping:
            times.append(0.05)
        times += [job.ending.until - now for job in self._jobs.values() if job.ending is not None]
        return max(0.0, min(times)) if times else None

    def _look_for_workers(self, now: float) -> None:
        if not self._jobs:
            if self._workforce.present and now - self._idle_since >= IDLE:
                for worker in self._workforce.release_all():
                    self._scheduler.lose(worker, died=False)
            return
        self._idle_since = now
        if now - self._looked >= LOOK_FOR_WORKERS or not len(self._workforce):
            self._looked = now
            self._backend.acquire()
        if len(self._workforce) or self._expecting():
            self._seen_workers = now
        elif self._problem() or now - self._seen_workers >= PATIENCE:
            self._give_up()

    def _give_up(self) -> None:
        ends = self._problem() or "; ".join(self._ends[-4:]) or "none ever came"
        for job in list(self._jobs.values()):
            self.end(job, NoWorkersError(
                f"no worker is left ({ends}); finished results are kept in nbpar.last_run.results()"
            ))  # fmt: skip

    def _assign(self, now: float) -> None:
        while self._assign_once(now) and len(self._scheduler.runs) > 1:
            pass  # what one run takes may be room for another, and its end another's
        self._workforce.send()
        for call in self._scheduler.recall(now):
            self._workforce.cancel(call.worker, [call.id])

    def _assign_once(self, now: float) -> bool:
        """Fill the workers' windows; whether there was anything to do."""
        workers = max(len(self._workforce), 1)
        acted = False
        for state in list(self._scheduler.runs.values()):
            if state.id not in self._jobs:
                continue  # it was stopped; only answers of what ran then are to come
            state.ask(workers)
            acted |= self._pass_known(state)
            self._end_if_done(state.id)
            acted |= state.id not in self._jobs
        for assignment in self._scheduler.assign(now):
            acted = True
            job = self._jobs[assignment.run.id]
            chunk = assignment.chunk
            self._workforce.post(assignment.worker, job.load_for(assignment.worker), self._call(assignment))
            self._pass_known(assignment.run)
            job.sink.emit(events.ChunkSent(
                now, assignment.worker, assignment.id, chunk.first, len(chunk.items), chunk.attempt
            ))  # fmt: skip
        return acted

    def _call(self, assignment: Assignment) -> Call:
        job, chunk = self._jobs[assignment.run.id], assignment.chunk
        if job.keeps_packed:
            self._backend.keep_packed(assignment.id)
        return job.call(assignment.id, assignment.worker, chunk.first, chunk.items)

    def _pass_known(self, state: RunState) -> bool:
        parts = state.pass_known()
        if parts:
            self._jobs[state.id].sink.deliver(parts)
        return bool(parts)

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
            self._load_again(worker, message, now)
        elif isinstance(message, Bye):
            self._part(worker, message.reason, events.WorkerLeft(now, worker))
        elif isinstance(message, Lost):
            self._ends.append(f"{worker}: {message.reason}")
            self._part(worker, message.reason, events.WorkerLost(now, worker, message.reason))

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
        values = done.values if isinstance(done.values, PackedItems) else list(done.values)
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
        parts = [*parts, *job.state.flush()] if job.ending else parts
        if parts:
            job.sink.deliver(parts)
        if failures and (job.fail_fast or (job.max_errors is not None and job.failed > job.max_errors)):
            self.end(job, failures[0].exception)
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
        self._workforce.release(worker)  # it begins anew, initializer first, when the next run needs it
        for fault in done.faults.values():
            for job in self.jobs:
                self.end(job, restore(fault))

    def _load_again(self, worker: WorkerId, missing: Missing, now: float) -> None:
        self._workforce.forget_function(worker, missing.digest)
        for call in missing.calls:
            assignment = self._scheduler.call(call)
            if assignment is None:
                continue
            if assignment.run.id in self._jobs:
                load = self._jobs[assignment.run.id].load_for(worker)
                self._workforce.post(worker, load, self._call(assignment))
            else:  # its run was stopped while it was on its way
                self._scheduler.answer(call, 0, 0.0, now, final=True)

    def _part(self, worker: WorkerId, reason: str, event: events.WorkerLeft | events.WorkerLost) -> None:
        """A worker is gone; what cannot run anywhere else has failed."""
        hopeless = self._scheduler.lose(worker, died=isinstance(event, events.WorkerLost))
        self._workforce.leave(worker)
        self._tell_retired(worker)
        for job in self._jobs.values():
            job.sink.emit(event)
        for assignment in hopeless:
            if (job_or_none := self._jobs.get(assignment.run.id)) is not None:
                self._bury(job_or_none, assignment, reason, event.at)

    def _bury(self, job: Job, assignment: Assignment, reason: str, now: float) -> None:
        failure = _death(job, assignment, reason)
        parts, final = self._scheduler.settle(
            assignment, failure.index, [None], {failure.index: failure}, now, hopeless=True
        )
        job.sink.emit(events.ItemsDone(
            now, assignment.worker, assignment.id, failure.index, 1, 1, 0, 0.0, (), 0, 0, True,
            job.state.chunker.current,
        ))  # fmt: skip
        self._deliver(job, parts, final, now)

    # ---- workers that leave for good

    def retire(self, workers: list[WorkerId], then: Callable[[WorkerId], None]) -> None:
        """Let workers go when they are through with what they run; `then` is called for each that has gone."""
        for worker in workers:
            self._retiring[worker] = then
            waiting = self._scheduler.retire(worker)
            if waiting:
                self._workforce.cancel(worker, [call.id for call in waiting])
            if worker not in self._workforce.ready:  # its loop does not run: it may go at once
                self._backend.retire(worker)
                self._tell_retired(worker)

    def _release_retired(self) -> None:
        for worker in self._scheduler.retired():
            self._workforce.retire(worker)

    def _tell_retired(self, worker: WorkerId) -> None:
        if (then := self._retiring.pop(worker, None)) is not None:
            then(worker)

    # ---- begin and end of jobs

    def begin(self, job: Job, now: float) -> None:
        """Let a job take part."""
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
            if here and (all_here or now - job.begun >= PATIENCE):
                self._gathering.remove(job)
                job.state.pin(here, job.everywhere)
                self._scheduler.add(job.state)

    def _end_if_done(self, run: int) -> None:
        job = self._jobs.get(run)
        if job is not None and job.state.done and job not in self._gathering:
            self._scheduler.remove(job.state)
            error = job.ending.error if job.ending else getattr(job.state.source, "error", None)
            self._finish(job, error)

    def end(self, job: Job, error: BaseException | None) -> None:
        """End a job before its time: forget what has not begun, interrupt what runs."""
        if self._jobs.get(job.state.id) is not job or job.ending is not None:
            return
        under_way = self._scheduler.remove(job.state)
        by_worker: dict[WorkerId, list[Assignment]] = {}
        for assignment in under_way:
            by_worker.setdefault(assignment.worker, []).append(assignment)
        answer = False
        for worker, assignments in by_worker.items():
            self._workforce.cancel(worker, [assignment.id for assignment in assignments])
            if self._scheduler.head(worker) is assignments[0]:
                under_way_still = partial(self._under_way, assignments[0].id)
                answer |= self._workforce.stop_item(worker, self._now, under_way_still)
        if held := job.state.flush():
            job.sink.deliver(held)
        job.ending = Ending(error, self._now + LAST_ANSWERS)
        if not answer:
            self._finish(job, error)

    def _end_overdue(self, now: float) -> None:
        """Wait no longer for the last answers of jobs that were stopped."""
        for job in self.jobs:
            if job.ending is not None and now >= job.ending.until:
                self._finish(job, job.ending.error)

    def _kill_overdue(self, now: float) -> None:
        """Kill workers whose item does not stop at its time limit: it sits in code that no signal reaches."""
        for worker in self._workforce.ready if any(job.timeout for job in self._jobs.values()) else ():
            head = self._scheduler.head(worker)
            job = self._jobs.get(head.run.id) if head is not None else None
            if job is None or job.timeout is None or job.ending is not None:
                continue
            if self._scheduler.silence(worker, now) > job.timeout + OVERTIME:
                self._scheduler.condemn(worker)
                self._backend.kill(worker, OVERDUE)

    def abandon(self, error: BaseException) -> None:
        """End every job without a word to the workers."""
        for job in self.jobs:
            self._finish(job, error)

    def _under_way(self, call: int) -> bool:
        return self._scheduler.call(call) is not None

    def _finish(self, job: Job, error: BaseException | None) -> None:
        del self._jobs[job.state.id]
        if job in self._gathering:
            self._gathering.remove(job)
        self._idle_since = self._now
        close = getattr(job.state.source, "close", None)
        if close is not None:
            close()
        job.sink.finish(error)


def _death(job: Job, assignment: Assignment, reason: str) -> Failure:
    chunk, worker = assignment.chunk, assignment.worker
    item: Any = chunk.items[0]
    if job.state.pinned is None:
        what = f"item {chunk.first} killed its worker twice (the second time {worker}: {reason})"
    else:
        what = f"{worker} was gone before it had answered ({reason})"
    error: Exception = WorkerDied(what, chunk.first, item, reason)
    if reason == OVERDUE:
        error = ItemTimeoutError(
            f"it took longer than timeout={job.timeout:g} s and did not stop, so its worker was killed"
        )
    return Failure(
        chunk.first, item, error, worker=worker,
        attempts=chunk.deaths + 1, function=job.function, spread=job.spread,
    )  # fmt: skip
