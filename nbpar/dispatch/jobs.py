"""The jobs of a dispatcher, from start to end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

from nbpar.backends.base import Backend, WorkerId
from nbpar.core import events
from nbpar.core.outcome import Failure, Part
from nbpar.core.rates.rate import NEVER
from nbpar.core.scheduling.scheduler import Scheduler
from nbpar.core.scheduling.windows import LASTS, Assignment
from nbpar.dispatch.failures import OVERDUE, unhandled
from nbpar.dispatch.hosts import unfit
from nbpar.dispatch.job import Ending, Job
from nbpar.dispatch.workforce import Workforce
from nbpar.host.ctrl_c import may_be_ctrl_c
from nbpar.host.error_log import call_safely
from nbpar.wire.messages import Done

REFUSED = (429, 503)
"""HTTP statuses of a server that can take no request from this client for a while."""

LAST_ANSWERS = 0.15
"""Seconds that a stopped run waits for answers of its interrupted workers."""

OVERTIME = 1.0
"""Seconds beyond its `timeout` after which the worker of an item that does not stop is killed."""

LOOK_FOR_OVERDUE = 0.1
"""Seconds between two checks for overdue items."""

BRIEF = 2e-4
"""Independent calls that take less than these seconds wait for each other, to be sent together."""

TELL_AGAIN = 0.5
"""Seconds by which a limited rate must open at another time than was told, to be told again."""

GATHER_WITHIN = 3.0
"""Seconds after which a job for every worker starts with those that are present."""


class Jobs:
    """Current jobs, by the number of their run."""

    def __init__(self, scheduler: Scheduler, workforce: Workforce, backend: Backend) -> None:
        self._scheduler = scheduler
        self._workforce = workforce
        self._backend = backend
        self._jobs: dict[int, Job] = {}
        self._gathering: list[Job] = []
        """Those that start when every worker is present."""

        self._endings: dict[int, Job] = {}
        """Stopped jobs with outstanding answers."""

        self._limited: dict[int, Job] = {}
        """Jobs with a time limit for items."""

        self.rated: dict[int, Job] = {}
        """Jobs at a limited rate."""

        self._needing: dict[int, Job] = {}
        """Jobs whose items need something of their hosts."""

        self._single: dict[int, Job] = {}
        """Jobs of independent calls."""

        self._looked = 0.0
        """Time of the last check for overdue items."""

        self._overdue: dict[WorkerId, tuple[int, int]] = {}
        """Workers whose item was overdue then: call and items that it had answered."""

        self._collected: dict[Job, list[Part]] = {}
        """Outcomes to be delivered together."""

        self.now = 0.0
        """Time of the current step."""

        self.idle_since = 0.0
        """When the last one ended."""

    def __iter__(self) -> Iterator[Job]:
        return iter(list(self._jobs.values()))

    def __len__(self) -> int:
        return len(self._jobs)

    def get(self, run: int) -> Job | None:
        """Return the job of a run, or None if it is over."""
        return self._jobs.get(run)

    def of(self, run: int) -> Job:
        """Return the job of a current run."""
        return self._jobs[run]

    def runs(self, assignment: Assignment, index: int) -> bool:
        """Whether a worker runs this item of a call, as far as is known; thread-safe."""
        try:
            if assignment.run.chunker.concurrency:
                return (
                    index in assignment.unanswered
                    and assignment.id in self._scheduler.windows[assignment.worker].calls
                )
            return assignment.next == index and self._scheduler.windows.head(assignment.worker) is assignment
        except (RuntimeError, KeyError):  # it changed in another thread
            return False

    def running(self) -> dict[WorkerId, str]:
        """Describe the work of each busy worker; thread-safe."""
        words = {}
        for worker in list(self._scheduler.windows):
            try:
                head = self._scheduler.windows.head(worker)
            except RuntimeError:  # it changed in another thread
                continue
            job = self.get(head.run.id) if head is not None else None
            if head is not None and job is not None:
                words[worker] = job.title_of(head)
        return words

    def begin(self, job: Job) -> None:
        """Start a job."""
        self._jobs[job.state.id] = job
        if job.timeout is not None:
            self._limited[job.state.id] = job
        if job.state.singly:
            self._single[job.state.id] = job
        if job.state.gate is not None:
            self.rated[job.state.id] = job
        if job.state.claim is not None:
            self._needing[job.state.id] = job
        job.begun = self.now
        job.sink.emit(events.RunStarted(self.now, job.label, job.total))
        for worker in self._workforce.ready:
            job.sink.emit(self._workforce.joined(worker, self.now))
            if worker in self._workforce.silent:
                job.sink.emit(events.WorkerSilent(self.now, worker))
        if job.everywhere is None:
            self._scheduler.add(job.state)
            self.end_if_done(job.state.id)  # it may be empty
        else:
            self._gathering.append(job)

    def gather(self, expecting: Callable[[], bool]) -> None:
        """Start jobs that need every worker, once all are present and none is expected."""
        if not self._gathering:
            return
        here = [worker for worker in self._workforce.ready if worker not in self._workforce.silent]
        for job in list(self._gathering):
            all_here = len(here) >= len(self._backend.describe()) and not expecting()
            all_here = all_here and not self._workforce.stopping  # one of them may be about to end
            if here and (all_here or self.now - job.begun >= GATHER_WITHIN):
                self._gathering.remove(job)
                job.state.pin(here, job.everywhere)
                self._scheduler.add(job.state)

    def refuse_unfit(self, expecting: Callable[[], bool]) -> None:
        """End the jobs of which no item fits into any worker's host, once no other worker is expected."""
        for job in list(self._needing.values()) if self._needing else ():
            claim = job.state.claim
            hosts = [window.host for window in self._scheduler.windows.values()]
            if claim is None or not hosts or any(host.fits(claim.needs) for host in hosts) or expecting():
                continue
            self.end(job, ValueError(unfit(claim.needs, hosts)))

    def emit(self, event: events.Event) -> None:
        """Send an event to every job."""
        for job in self:
            try:
                job.sink.emit(event)
            except BaseException as bug:  # noqa: BLE001 (the others must be notified as well)
                self.fail(job, bug)

    def collect(self, job: Job, parts: list[Part], failures: list[Failure]) -> None:
        """Deliver outcomes with those that follow until `deliver_collected`, or until the job ends.

        Failures, which may end it, and independent calls, which fail alone, are delivered at once.
        """
        if failures or job.ending is not None or job.state.singly:
            self.deliver(job, parts, failures)
        else:
            self._collected.setdefault(job, []).extend(parts)

    def tell_delays(self, job: Job, done: Done) -> None:
        """Tell which items of an answer wait long for their next attempt, and why."""
        delays, job.state.delays = job.state.delays, {}
        for index, due in delays.items():
            fault = done.faults[index - done.first]
            why = f"{fault.kind} {fault.status}" if fault.status else fault.kind
            if fault.after is not None and fault.status in REFUSED and job.state.gate is not None:
                job.state.gate.shut(self.now + fault.after)
            job.sink.emit(events.ItemDelayed(self.now, index, due, why))

    def tell_limits(self) -> None:
        """Tell of each job at a limited rate whether that is what it waits for, when this has changed."""
        for job in list(self.rated.values()):
            gate = job.state.gate
            if gate is None or job.ending is not None:
                continue
            limited = gate.opens > self.now and not job.state.paused
            if limited != job.limited or (limited and abs(gate.opens - job.opens) > TELL_AGAIN):
                job.limited, job.opens = limited, gate.opens
                opens = gate.opens if limited and gate.opens < NEVER else None
                job.sink.emit(events.RateReached(self.now, limited, opens, str(gate.rate)))

    def deliver_collected(self) -> None:
        """Deliver what was collected."""
        while self._collected:
            job = next(iter(self._collected))
            try:
                self.deliver(job, [], [])
            except BaseException as bug:
                if may_be_ctrl_c(bug):
                    raise
                self.fail(job, bug)

    def deliver(self, job: Job, parts: list[Part], failures: list[Failure]) -> None:
        """Deliver outcomes, after those collected; end the job when it is over or has failed too often."""
        parts = [*self._collected.pop(job, ()), *parts]
        bad = [failure for failure in failures if not failure.skipped]
        job.failed += len(bad)
        for failure in failures:
            job.sink.emit(events.ItemFailed(self.now, failure))
        if job.ending:
            parts += job.state.flush()
        if parts:
            job.sink.deliver(parts)
        if bad and (job.fail_fast or (job.max_errors is not None and job.failed > job.max_errors)):
            self.end(job, bad[0].exception)
        else:
            self.end_if_done(job.state.id)

    def bury(self, job: Job, assignment: Assignment, failure: Failure) -> None:
        """Settle an item that no worker has an outcome of."""
        parts, final = self._scheduler.settle(
            assignment, failure.index, [None], {failure.index: failure}, self.now, hopeless=True
        )
        job.sink.emit(events.ItemsDone(
            self.now, assignment.worker, assignment.id, failure.index, 1, 1, 0, 0.0, (), 0, 0, True,
            job.state.chunker.current,
        ))  # fmt: skip
        self.deliver(job, parts, final)

    def end_if_done(self, run: int) -> None:
        """End a job without remaining work."""
        job = self.get(run)
        if job is not None and job.state.done and job not in self._gathering:
            self._scheduler.remove(job.state)
            error = job.ending.error if job.ending else job.state.source.error
            self._finish(job, error)

    def end(self, job: Job, error: BaseException | None) -> None:
        """End a job early: drop pending items, interrupt running ones."""
        if self.get(job.state.id) is not job or job.ending is not None:
            return
        under_way = self._scheduler.remove(job.state)
        by_worker: dict[WorkerId, list[Assignment]] = {}
        for assignment in under_way:
            by_worker.setdefault(assignment.worker, []).append(assignment)
        answer = False
        for worker, assignments in by_worker.items():
            self._cancel(worker, assignments)
            # The worker may start any of them before the message arrives, and not react between two of them.
            has, runs = partial(self._has, assignments), partial(self._runs, worker, assignments)
            answer |= self._workforce.stop_item(worker, self.now, has, runs, at_once=not job.concurrent)
        if self._workforce.preparing and all(other is job or other.ending for other in self._jobs.values()):
            self._workforce.stop_initializers(self.now)
        if held := [*self._collected.pop(job, ()), *job.state.flush()]:
            job.sink.deliver(held)
        job.ending = Ending(error, self.now + LAST_ANSWERS)
        self._endings[job.state.id] = job
        if not answer:
            self._finish(job, error)

    def fail(self, job: Job, bug: BaseException, call: Assignment | None = None) -> None:
        """End a job that cannot be handled, even if that fails in turn; the others continue.

        If only one of its calls is affected, and calls are independent, that one fails alone.
        """
        if self.get(job.state.id) is not job:
            return
        singly = call is not None and call.run.singly
        what = f"the call of {job.title_of(call)}" if call and singly else f"the run {job.label}"
        error = unhandled(f"nbpar failed to handle {what}", bug)
        try:
            if call is not None and job.ending is None and job.lose(call, error):
                self.end_if_done(job.state.id)
                return
            if job.ending is None:
                self.end(job, error)
            else:
                self._finish(job, job.ending.error or error)
        except BaseException:  # noqa: BLE001 (it may fail again: its end is reported in any case)
            self._forget(job)
            self._finish(job, error)

    def fail_all(self, bug: BaseException) -> None:
        """End every job, if it is unknown which of them a bug affects."""
        for job in self:
            self.fail(job, bug)

    def drop(self, job: Job, index: int) -> None:
        """Stop one item: drop it if pending, interrupt it if running.

        Items of the same call that have not begun go back to their run.
        """
        if self.get(job.state.id) is not job or job.ending is not None:
            return
        under_way = [call for call in self._scheduler.windows.calls_of(job.state) if index in call.unanswered]
        job.state.drop(index, under_way=bool(under_way))
        for call in under_way:
            self.shut_out(call)
            awaited, runs = self.watch(call, index)
            self._workforce.stop_item(call.worker, self.now, awaited, runs, at_once=not job.concurrent)
        self.end_if_done(job.state.id)

    def shut_out(self, call: Assignment) -> None:
        """Let a worker begin no item of a call after the one at hand."""
        if len(call.chunk.items) == 1:
            self._cancel(call.worker, [call])
        elif not call.cut:
            call.cut = True
            self._workforce.cut(call.worker, call.id)

    def watch(self, call: Assignment, index: int) -> tuple[Callable[[], bool], Callable[[], object]]:
        """Return functions that tell whether an item of a call has no outcome, and whether it runs now."""
        return partial(self._awaits, call, index), partial(self._runs_item, call, index)

    def leave_behind(self, call: Assignment) -> None:
        """Go on without the answer of a call, whose worker may keep it; its items return to their run."""
        if self._scheduler.windows.call(call.id) is call and not call.superseded:
            call.supersede()
            call.run.give_back(call.chunk.rest(call.done))

    @property
    def linger(self) -> bool:
        """Whether calls are under way that are answered before it would be worth to wake up for others."""
        return any(
            job.state.running and (job.state.chunker.seconds_per_item or BRIEF) < BRIEF
            for job in self._single.values()
        )

    def end_overdue(self) -> None:
        """Stop waiting for the last answers of stopped jobs."""
        for job in list(self._endings.values()) if self._endings else ():
            if job.ending is not None and self.now >= job.ending.until:
                self._finish(job, job.ending.error)

    @property
    def next_ending(self) -> float | None:
        """Time when the wait for one of them ends."""
        return min((job.ending.until for job in self._endings.values() if job.ending), default=None)

    def kill_overdue(self) -> None:
        """Kill workers whose item does not stop at its time limit, in code that no signal reaches."""
        if not self._limited or self.now - self._looked < LOOK_FOR_OVERDUE:
            return
        self._looked = self.now
        before, self._overdue = self._overdue, {}
        for worker in self._workforce.ready:
            call = self._scheduler.windows[worker].limited  # unpickling and pickling have no limit
            job = self.get(call.run.id) if call is not None else None
            if call is None or job is None or job.timeout is None or job.ending is not None:
                continue
            if call.superseded or worker in self._workforce.silent or call.limited_since is None:
                continue
            over = self.now - call.limited_since  # of a coroutine its worker tells when its time is over
            if not job.concurrent:
                over = min(over, self._scheduler.windows.silence(worker, self.now)) - job.timeout
            if over <= OVERTIME:
                continue
            self._overdue[worker] = (call.id, call.done)
            if before.get(worker) == (call.id, call.done):  # else its answer may be here, and not read
                call.condemn()
                self._backend.kill(worker, OVERDUE)

    def abandon(self, error: BaseException) -> None:
        """End every job without messages to the workers."""
        for job in self:
            self._finish(job, error)

    def _cancel(self, worker: WorkerId, calls: list[Assignment]) -> None:
        """Tell a worker not to start a run's calls; of coroutines also to cancel them."""
        running = bool(calls[0].run.chunker.concurrency)
        self._workforce.cancel(worker, [call.id for call in calls], running=running)

    def _has(self, assignments: list[Assignment]) -> bool:
        """Whether one of a worker's calls is unanswered."""
        return any(self._scheduler.windows.call(assignment.id) is not None for assignment in assignments)

    def _runs(self, worker: WorkerId, assignments: list[Assignment]) -> Assignment | None:
        """Return what a worker runs of these calls: its oldest, or of coroutines any that is unanswered."""
        if assignments[0].run.chunker.concurrency:
            return next(
                (call for call in assignments if self._scheduler.windows.call(call.id) is not None), None
            )
        head = self._scheduler.windows.head(worker)
        return head if any(head is assignment for assignment in assignments) else None

    def _awaits(self, call: Assignment, index: int) -> bool:
        """Whether an item of a call is unanswered."""
        return self._scheduler.windows.call(call.id) is call and index in call.unanswered

    def _runs_item(self, call: Assignment, index: int) -> Assignment | None:
        """Return a call if its worker certainly runs that item of it.

        A worker tells of items that are over when the next one lasts; before, it may be any of them.
        """
        if call.run.chunker.concurrency:
            return call
        if not self.runs(call, index):
            return None
        sure = len(call.chunk.items) == 1 or self._scheduler.windows.silence(call.worker, self.now) >= LASTS
        return call if sure else None

    def _forget(self, job: Job) -> None:
        """Remove a job from the scheduler, as far as possible."""
        with suppress(BaseException):
            self._scheduler.remove(job.state)

    def _finish(self, job: Job, error: BaseException | None) -> None:
        if self._jobs.pop(job.state.id, None) is None:
            return
        self._endings.pop(job.state.id, None)
        self._limited.pop(job.state.id, None)
        self._single.pop(job.state.id, None)
        self.rated.pop(job.state.id, None)
        self._needing.pop(job.state.id, None)
        if job in self._gathering:
            self._gathering.remove(job)
        self.idle_since = self.now
        sink, untold = job.sink, f"the end of the run {job.label} could not be told"
        if parts := self._collected.pop(job, None):
            call_safely(lambda: sink.deliver(parts), untold)
        try:
            job.state.source.close()
        except BaseException as bug:  # noqa: BLE001 (it must not keep the end from being told)
            error = error or unhandled(f"nbpar failed to end the run {job.label}", bug)
        call_safely(job.release, untold)
        call_safely(lambda: sink.finish(error), untold)
