"""Drive the scheduler: send what it assigns, hand it what comes back.

Plain calls in one thread: whoever owns the driver asks it what to send, and tells it what
arrived.  It starts no thread and waits for nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from nbpar.backends.base import Backend, WorkerId
from nbpar.core import events
from nbpar.core.outcome import Failure
from nbpar.core.runstate import RunState
from nbpar.core.scheduler import Scheduler
from nbpar.core.transcript import Piece
from nbpar.core.windows import Assignment
from nbpar.dispatch.failures import death_of, failure_of
from nbpar.dispatch.job import Job
from nbpar.dispatch.jobs import Jobs
from nbpar.dispatch.leaving import Leaving
from nbpar.dispatch.lines import CHANNEL_MESSAGES, Lines
from nbpar.dispatch.memory import NO_RULES, Memory, MemoryRules
from nbpar.dispatch.workforce import Workforce
from nbpar.errors import NoWorkersError
from nbpar.wire.faults import restore
from nbpar.wire.messages import INITIALIZER, Bye, Call, Done, Lost, Message, Missing, Output, Ready
from nbpar.wire.packed_items import PackedItems

IDLE = 1.0
"""Seconds without a run after which the workers are let go."""

LOOK_FOR_WORKERS = 0.25
"""Seconds between two looks for workers that have come, while a run is under way."""

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
        rules: MemoryRules = NO_RULES,
    ) -> None:
        self._backend = backend
        self._workforce = workforce
        self._expecting = expecting
        self._problem = problem
        self._scheduler = Scheduler()
        self.jobs = Jobs(self._scheduler, workforce, backend)
        self.lines = Lines(backend, workforce, self._scheduler)
        self.leaving = Leaving(self._scheduler, workforce, backend)
        self._memory = Memory(rules, self._scheduler, workforce, self.leaving)
        self._looked = self._seen_workers = now
        self.jobs.now = self.jobs.idle_since = now
        self._ends: list[str] = []

    def begin(self, job: Job, now: float) -> None:
        """Let a job take part."""
        self.jobs.now = now
        if not len(self.jobs):
            self._seen_workers = now
        self.jobs.begin(job)
        if self._memory.low:
            job.sink.emit(self._memory.event(now))

    # ---- steps

    def prepare(self, now: float, *, busy: bool = False) -> None:
        """Look after the workers and send them what there is to do; `busy`: they have just said something."""
        self.jobs.now = now
        self._look_for_workers(now)
        if len(self.jobs):
            self.jobs.gather(expecting=self._expecting())
        if len(self.jobs) and self._memory.look(now, busy=busy):
            self.jobs.emit(self._memory.event(now))
        self._assign(now)
        self._workforce.stop_again(now)
        self.lines.flush(now)
        self.jobs.end_overdue()
        self.jobs.kill_overdue()
        self.leaving.release()

    def take(self, arrived: list[tuple[WorkerId, Message]], now: float) -> None:
        """Take in what workers have said."""
        self.jobs.now = now
        for worker, message in arrived:
            self._take(worker, message, now)

    def pause_before(self, now: float) -> float | None:
        """Seconds until `prepare` has something to do in any case; None: only when something arrives."""
        times = []
        if (due := self._scheduler.due(now)) is not None:
            times.append(due - now)
        if len(self.jobs):
            times.append(self._memory.look_in(now))
        if len(self.jobs) or self.lines.waiting:
            times.append(LOOK_FOR_WORKERS)
        elif self._workforce.present and not len(self.lines):
            times.append(self.jobs.idle_since + IDLE - now)
        if self._workforce.stopping:
            times.append(0.05)
        if (due := self.lines.flush_at) is not None:
            times.append(due - now)
        times += [job.ending.until - now for job in self.jobs if job.ending is not None]
        return max(0.0, min(times)) if times else None

    def _look_for_workers(self, now: float) -> None:
        if not len(self.jobs):
            if len(self.lines):
                self.jobs.idle_since = now
                self._look_for_ends(now)
            elif self._workforce.stopping:
                self.jobs.idle_since = now  # whoever is let go cannot be stopped any more
            elif self._workforce.present and now - self.jobs.idle_since >= IDLE:
                for worker in self._workforce.release_all():
                    self._scheduler.lose(worker, died=False)
                    self.lines.disconnect(worker)
            return
        self.jobs.idle_since = now
        if now - self._looked >= LOOK_FOR_WORKERS or not len(self._workforce):
            self._looked = now
            self._backend.acquire()
        if len(self._workforce) or self._expecting() or self._backend.coming():
            self._seen_workers = now
        elif self._problem() or now - self._seen_workers >= PATIENCE:
            self._give_up()

    def _look_for_ends(self, now: float) -> None:
        """Have the workers come to which channels lead."""
        if self.lines.waiting and now - self._looked >= LOOK_FOR_WORKERS:
            self._looked = now
            self._backend.acquire()
            self.lines.look_for_gone({facts["worker"] for facts in self._backend.describe()})

    def _give_up(self) -> None:
        places = ", ".join(str(facts["worker"]) for facts in self._backend.describe())
        nobody = f"none ever came; something else may run on {places}" if places else "none ever came"
        ends = self._problem() or "; ".join(self._ends[-4:]) or nobody
        for job in self.jobs:
            self.jobs.end(job, NoWorkersError(
                f"no worker is left ({ends}); finished results are kept in nbpar.last_run.results()"
            ))  # fmt: skip

    def _assign(self, now: float) -> None:
        while self._assign_once(now) and len(self._scheduler.runs) > 1:
            pass  # what one run takes may be room for another, and its end another's
        self._workforce.send()
        for call in self._scheduler.windows.recall(now):
            self._workforce.cancel(call.worker, [call.id])

    def _assign_once(self, now: float) -> bool:
        """Fill the workers' windows; whether there was anything to do."""
        workers = max(len(self._workforce), 1)
        acted = False
        for state in self._scheduler.attended:
            if self.jobs.get(state.id) is None:
                continue  # it was stopped; only answers of what ran then are to come
            state.ask(workers)
            acted |= self._pass_known(state)
            self.jobs.end_if_done(state.id)
            acted |= self.jobs.get(state.id) is None
        for assignment in self._memory.admitted(self._scheduler.assign(now)):
            acted = True
            job = self.jobs.of(assignment.run.id)
            chunk = assignment.chunk
            self._workforce.post(
                assignment.worker, job.load_for(assignment.worker), self._call(assignment), job.begin
            )
            self._pass_known(assignment.run)
            job.sink.emit(events.ChunkSent(
                now, assignment.worker, assignment.id, chunk.first, len(chunk.items), chunk.attempt
            ))  # fmt: skip
        return acted

    def _call(self, assignment: Assignment) -> Call:
        job, chunk = self.jobs.of(assignment.run.id), assignment.chunk
        if job.keeps_packed:
            self._backend.keep_packed(assignment.id)
        return job.call(assignment.id, assignment.worker, chunk.first, chunk.items)

    def _pass_known(self, state: RunState) -> bool:
        parts = state.pass_known()
        if parts:
            self.jobs.of(state.id).sink.deliver(parts)
        return bool(parts)

    # ---- what arrives

    def _take(self, worker: WorkerId, message: Message, now: float) -> None:
        if type(message) in CHANNEL_MESSAGES:
            self.lines.take(worker, message)
        elif isinstance(message, Done):
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
        self._welcome(worker, now)
        self.lines.arrive(worker)

    def _welcome(self, worker: WorkerId, now: float) -> None:
        self._scheduler.join(worker)
        self.jobs.emit(self._workforce.joined(worker, now))

    def _take_done(self, worker: WorkerId, done: Done, now: float) -> None:
        if done.id == INITIALIZER:
            self._take_initialized(worker, done, now)
            return
        values = done.values if isinstance(done.values, PackedItems) else list(done.values)
        assignment = self._scheduler.answer(
            done.id, len(values), done.seconds, now, final=done.final, moved=done.moved
        )
        job = self.jobs.get(assignment.run.id) if assignment is not None else None
        if assignment is None or job is None:
            return  # its run was stopped
        self._memory.note(worker, done.memory)
        if job.keep is not None:
            job.keep(done.first, values, done.faults)
        failures = {done.first + place: failure_of(job, assignment, done, place) for place in done.faults}
        job.forget_said(done.first, len(values))
        parts, final = self._scheduler.settle(assignment, done.first, values, failures, now)
        job.sink.emit(events.ItemsDone(
            now, worker, done.id, done.first, len(values), len(final), len(failures) - len(final),
            done.seconds, done.each, done.moved, done.memory, done.final, job.state.chunker.current,
            *done.costs, assignment.chunk,
        ))  # fmt: skip
        self.jobs.deliver(job, parts, final)

    def _take_output(self, output: Output, now: float) -> None:
        assignment = self._scheduler.windows.call(output.call)
        job = self.jobs.get(assignment.run.id) if assignment is not None else None
        if assignment is None or job is None:
            return
        for index, kind, content in output.pieces:
            piece = Piece(index, kind, content, assignment.worker, self._backend.blocking)
            job.said.setdefault(index, []).append(piece.text)
            job.sink.emit(events.ItemPrinted(now, piece))

    def _take_initialized(self, worker: WorkerId, done: Done, now: float) -> None:
        if self._workforce.initialized(worker, done):
            self._join(worker, now)
            return
        self._workforce.release(worker)  # it begins anew, initializer first, when the next run needs it
        for fault in done.faults.values():
            for job in self.jobs:
                self.jobs.end(job, restore(fault))

    def _load_again(self, worker: WorkerId, missing: Missing, now: float) -> None:
        self._workforce.forget_function(worker, missing.digest)
        if INITIALIZER in missing.calls:
            self._workforce.initialize(worker)
        for call in missing.calls:
            assignment = self._scheduler.windows.call(call)
            if assignment is None:
                continue
            if (job := self.jobs.get(assignment.run.id)) is not None:
                self._workforce.post(worker, job.load_for(worker), self._call(assignment), job.begin)
            else:  # its run was stopped while it was on its way
                self._scheduler.answer(call, 0, 0.0, now, final=True)

    def _part(self, worker: WorkerId, reason: str, event: events.WorkerLeft | events.WorkerLost) -> None:
        """A worker is gone; what cannot run anywhere else has failed."""
        hopeless = self._scheduler.lose(worker, died=isinstance(event, events.WorkerLost))
        self._workforce.leave(worker)
        self.lines.lose(worker, reason, died=isinstance(event, events.WorkerLost))
        self.leaving.gone(worker)
        memory = self._memory.forget(worker)
        self.jobs.emit(event)
        for assignment in hopeless:
            if (job_or_none := self.jobs.get(assignment.run.id)) is not None:
                self._bury(job_or_none, assignment, death_of(job_or_none, assignment, reason, memory))

    def _bury(self, job: Job, assignment: Assignment, failure: Failure) -> None:
        now = self.jobs.now
        parts, final = self._scheduler.settle(
            assignment, failure.index, [None], {failure.index: failure}, now, hopeless=True
        )
        job.sink.emit(events.ItemsDone(
            now, assignment.worker, assignment.id, failure.index, 1, 1, 0, 0.0, (), 0, 0, True,
            job.state.chunker.current,
        ))  # fmt: skip
        self.jobs.deliver(job, parts, final)
