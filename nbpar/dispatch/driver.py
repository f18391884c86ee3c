"""Connect scheduler and backend: send assignments, return answers.

Plain calls in one thread: its owner lets it prepare messages, and passes it those that
arrived.  It starts no thread and never waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from nbpar.backends.base import Backend, WorkerId
from nbpar.core import events
from nbpar.core.scheduling.runstate import RunState, nothing_known
from nbpar.core.scheduling.scheduler import Scheduler
from nbpar.core.scheduling.windows import Assignment
from nbpar.dispatch.awaited_files import AwaitedFiles
from nbpar.dispatch.channels import CHANNEL_MESSAGES, PoolChannels
from nbpar.dispatch.failures import UnfitAnswerError, calls_in, death_of, failure_of, fitted, judged
from nbpar.dispatch.hosts import host_of
from nbpar.dispatch.job import Job
from nbpar.dispatch.jobs import Jobs
from nbpar.dispatch.memory import NO_RULES, Memory, MemoryRules
from nbpar.dispatch.news import NEWS, CallNews
from nbpar.dispatch.pickled import keep_pickled, without_bytes
from nbpar.dispatch.retiring import Retirement
from nbpar.dispatch.silence import SilentWorkers, fresh_parts
from nbpar.dispatch.skips import Skips
from nbpar.dispatch.walltime import Walltime
from nbpar.dispatch.workforce import WorkerWait, Workforce
from nbpar.errors import NoWorkersError
from nbpar.host.ctrl_c import may_be_ctrl_c
from nbpar.wire.faults import restore
from nbpar.wire.messages import (
    INITIALIZER,
    Answering,
    Bye,
    Call,
    Done,
    Lost,
    Message,
    Missing,
    Ready,
    Silent,
)
from nbpar.wire.packed_items import PackedItems

IDLE = 1.0
"""Seconds without a run after which the workers are released."""

ANNOUNCE = 2.0
"""Seconds between two changes of what workers are said to wait for."""

NOTHING_SAID = (float("-inf"), "")

LOOK_FOR_WORKERS = 0.25
"""Seconds between two checks for new workers during a run."""


class Driver:
    """The runs and workers of one pool."""

    def __init__(
        self,
        backend: Backend,
        workforce: Workforce,
        *,
        expecting: Callable[[], bool],
        awaited: Callable[[], str],
        problem: Callable[[], str],
        now: float,
        rules: MemoryRules = NO_RULES,
        request: Callable[[Callable[[], None]], None],
    ) -> None:
        self._backend = backend
        self._workforce = workforce
        self._expecting = expecting
        self._awaited = awaited
        self._announced = NOTHING_SAID
        """What workers were last said to wait for, and when."""

        self._problem = problem
        self._scheduler = Scheduler()
        self.jobs = Jobs(self._scheduler, workforce, backend)
        self.lines = PoolChannels(backend, workforce, self._scheduler, request)
        self._silence = SilentWorkers(self._scheduler, workforce, backend, self.jobs)
        self.skips = Skips(self._scheduler, workforce, self.jobs)
        self.files = AwaitedFiles(workforce, self.jobs, lambda worker: self._join(worker, self.jobs.now))
        self.leaving = Retirement(self._scheduler, workforce, backend)
        self._memory = Memory(rules, self._scheduler, workforce, self.leaving)
        self._news = CallNews(self._scheduler, self.jobs, self._memory, blocking=backend.blocking)
        self._walltime = Walltime(rules, self._scheduler, self.leaving)
        self._looked = now
        self._patience = WorkerWait()
        self.jobs.now = self.jobs.idle_since = now
        self._ends: list[str] = []
        self.stirred: deque[RunState] = deque()
        """Runs whose input has changed; any thread may append."""

        self.lingers = False
        """Whether very short calls were just sent or answered, so that more of them may come."""

    @property
    def complete(self) -> bool:
        """Whether all workers are here; for any thread."""
        return len(self._workforce.present) >= len(self._backend.describe())

    def begin(self, job: Job, now: float) -> None:
        """Start a job."""
        self.jobs.now = now
        if not len(self.jobs):
            self._patience.restore()
            self._announced = NOTHING_SAID
        try:
            self.jobs.begin(job)
            if self._memory.low:
                job.sink.emit(self._memory.event(now))
            if words := self._announced[1]:
                job.sink.emit(events.WorkersAwaited(now, words))
        except BaseException as bug:  # noqa: BLE001 (see `_blame`)
            self._blame(job, bug)

    def end(self, job: Job, error: BaseException | None) -> None:
        """End a job early; its sink gets `error`."""
        try:
            self.jobs.end(job, error)
        except BaseException as bug:  # noqa: BLE001 (see `_blame`)
            self._blame(job, bug)

    # ---- steps

    def prepare(self, now: float, *, busy: bool = False) -> None:
        """Update the workers and queue messages for them; `busy`: messages have just arrived."""
        self.jobs.now = now
        self._look_for_workers(now)
        if len(self.jobs):
            self.jobs.gather(self._expecting)
        if len(self.jobs) and self._memory.look(now, busy=busy):
            self.jobs.emit(self._memory.event(now))
        acted = self._assign(now)
        self.lingers = (acted or busy) and self.jobs.linger
        self._workforce.stop_again(now)
        self.lines.flush(now)
        if self.jobs.rated:
            self.jobs.tell_limits()
        self.jobs.end_overdue()
        self.jobs.kill_overdue()
        self.skips.settle()
        self.leaving.release()

    def take(self, arrived: list[tuple[WorkerId, Message]], now: float) -> None:
        """Handle messages from workers; outcomes of a job that arrive together are delivered together."""
        self.jobs.now = now
        try:
            for worker, message in arrived:
                try:
                    self._take(worker, message, now)
                except BaseException as bug:  # noqa: BLE001 (see `_blame`)
                    self._blame_for(worker, message, bug)
        finally:
            self.jobs.deliver_collected()

    def pause_before(self, now: float) -> float | None:
        """Seconds until `prepare` must be called again; None: only after a message."""
        dues = (self._scheduler.due(now), self.lines.flush_at, self.jobs.next_ending)
        times = [due - now for due in dues if due is not None]
        if len(self.jobs):
            times += (LOOK_FOR_WORKERS, self._memory.look_in(now))
        elif self.lines.waiting:
            times.append(LOOK_FOR_WORKERS)
        elif self._workforce.present and not len(self.lines):
            times.append(self.jobs.idle_since + IDLE - now)
        if self._workforce.stopping:
            times.append(0.05)
        return max(0.0, min(times)) if times else None

    def close(self) -> None:
        """Let go of what others share: nothing will be heard of its calls."""
        self._scheduler.lose_permits()

    def _look_for_workers(self, now: float) -> None:
        if not len(self.jobs):
            if len(self.lines):
                self.jobs.idle_since = now
                self._look_for_ends(now)
            elif self._workforce.stopping:
                self.jobs.idle_since = now  # a released worker cannot be stopped any more
            elif self._workforce.present and now - self.jobs.idle_since >= IDLE:
                self._silence.interrupt()
                for worker in self._workforce.release_all():
                    self._scheduler.lose(worker, died=False)
                    self.lines.disconnect(worker)
            return
        self.jobs.idle_since = now
        if now - self._looked >= LOOK_FOR_WORKERS or not len(self._workforce):
            self._looked = now
            self._backend.acquire()
            self._announce(now)
            self._scheduler.touch_attended()  # a source that never reports changes must not block its run
        if len(self._workforce) or self._expecting() or (self._backend.coming() and not self._problem()):
            self._patience.restore()
            self.jobs.refuse_unfit(self._expecting)
        elif self._patience.is_over(now) or self._problem():
            self._give_up()

    def _announce(self, now: float) -> None:
        """Tell all runs what workers wait for, when that has changed."""
        at, words = self._announced
        if now - at >= ANNOUNCE and (new := self._awaited()) != words:
            self._announced = (now, new)
            self.jobs.emit(events.WorkersAwaited(now, new))

    def _look_for_ends(self, now: float) -> None:
        """Start the workers that channels need."""
        if self.lines.waiting and now - self._looked >= LOOK_FOR_WORKERS:
            self._looked = now
            self._backend.acquire()
            self.lines.look_for_gone({facts["worker"] for facts in self._backend.describe()})

    def _give_up(self) -> None:
        places = ", ".join(str(facts["worker"]) for facts in self._backend.describe())
        unseen = f"none ever came; something else may run on {places}" if places else "none ever came"
        ends = self._problem() or "; ".join(self._ends[-4:]) or unseen
        for job in self.jobs:
            self.jobs.end(job, NoWorkersError(
                f"no worker is left ({ends}); finished results are kept in nbpar.last_run.results()"
            ))  # fmt: skip

    def _assign(self, now: float) -> bool:
        """Send what the workers can take; return whether there was work."""
        several = len(self._scheduler.runs) > 1
        acted = again = self._assign_once(now)
        while again and several:
            again = self._assign_once(now)  # what takes items may make room for another run, or end it
        while self._scheduler.silence.speculate():
            self._assign_once(now)
        for messages, bug in self._workforce.send():
            self._take_back(messages, bug)
        keep_pickled(self._scheduler.windows, self._backend.take_pickled())
        for call in () if self._memory.low else self._scheduler.windows.recall(now, self._is_sending):
            if call.cut:
                self._workforce.cut(call.worker, call.id)
            else:
                self._workforce.cancel(call.worker, [call.id])
        return acted

    def _is_sending(self, worker: WorkerId) -> bool:
        return self._backend.in_transit(worker)[0] > 0

    def _assign_once(self, now: float) -> bool:
        """Fill the workers' windows; return whether there was work."""
        acted = self._attend()
        try:
            for assignment in self._memory.admitted(
                self._walltime.admitted(self._scheduler.assign(now), now)
            ):
                acted = True
                self._hand_out(assignment, now)
        except BaseException as bug:
            run = self._scheduler.asked
            if run is None or (job := self.jobs.get(run.id)) is None:
                raise
            self._blame(job, bug)
            return True
        return acted

    def _attend(self) -> bool:
        """Attend to the runs' inputs; return whether there was work."""
        workers = max(len(self._workforce), 1)
        acted = False
        while self.stirred:
            self._scheduler.touch(self.stirred.popleft())
        for state in self._scheduler.take_touched():
            if (job := self.jobs.get(state.id)) is None:
                continue  # it was stopped; only answers of calls in flight are expected
            try:
                state.ask(workers)
                acted |= self._pass_known(state)
                self.jobs.end_if_done(state.id)
            except BaseException as bug:  # noqa: BLE001 (see `_blame`)
                self._blame(job, bug)
            acted |= self.jobs.get(state.id) is None
        return acted

    def _hand_out(self, assignment: Assignment, now: float) -> None:
        """Queue a chunk to be sent."""
        job, chunk = self.jobs.of(assignment.run.id), assignment.chunk
        posted = False
        try:
            self._post(job, assignment)
            posted = True
            if assignment.run.known is not nothing_known:
                self._pass_known(assignment.run)
            job.sink.emit(events.ChunkSent(
                now, assignment.worker, assignment.id, chunk.first, len(chunk.items), chunk.attempt
            ))  # fmt: skip
        except BaseException as bug:  # noqa: BLE001 (see `_blame`)
            if not posted:
                self._scheduler.drop(assignment.id)
            self._blame(job, bug, assignment)

    def _post(self, job: Job, assignment: Assignment) -> None:
        if job.keeps_packed:
            self._backend.keep_packed(assignment.id)
        self._workforce.post(assignment.worker, job.order(assignment))

    def _pass_known(self, state: RunState) -> bool:
        parts = state.pass_known()
        if parts:
            self.jobs.of(state.id).sink.deliver(parts)
        return bool(parts)

    # ---- messages from workers

    def _take(self, worker: WorkerId, message: Message, now: float) -> None:
        if isinstance(message, Done):
            self._take_done(worker, message, now)
        elif type(message) in CHANNEL_MESSAGES:
            self.lines.take(worker, message)
        elif isinstance(message, NEWS):
            self._news.take(worker, message, now)
        elif isinstance(message, Ready):
            self.lines.greet(worker)
            if self._workforce.arrive(worker, message.facts):
                self._join(worker, now)
        elif isinstance(message, Missing):
            self._load_again(worker, message, now)
        elif isinstance(message, (Silent, Answering)):
            self._silence.take(worker, message, now)
        elif isinstance(message, Bye):
            self._part(worker, message.reason, events.WorkerLeft(now, worker))
        elif isinstance(message, Lost):
            self._ends.append(f"{worker}: {message.reason}")
            self._part(worker, message.reason, events.WorkerLost(now, worker, message.reason))

    def _join(self, worker: WorkerId, now: float) -> None:
        self._scheduler.join(worker, host_of(self._workforce.facts(worker)))
        self.jobs.emit(self._workforce.joined(worker, now))
        self.lines.arrive(worker)

    def _take_done(self, worker: WorkerId, done: Done, now: float) -> None:
        if done.interrupted:
            self.skips.note(done)
            done = judged(done, stopped=self._workforce.has_interrupted(worker))
        if done.id == INITIALIZER:
            self._take_initialized(worker, done, now)
            return
        assignment = self._scheduler.windows.call(done.id)
        if assignment is None:
            return  # its worker was given up before
        if assignment.superseded:
            self._silence.end_superseded(assignment, done, now)
            return
        if base := assignment.base:
            done = done._replace(first=done.first + base)
        done = fitted(assignment, done)
        values = done.values  # the same list, from which the consumer of a stream takes them one by one
        if type(values) is not list and not isinstance(values, PackedItems):
            values = list(values)
        self._scheduler.answer(
            assignment, len(values), done.seconds, now, final=done.final, moved=done.moved,
            each=done.each, struck=done.interrupted,
        )  # fmt: skip
        if (job := self.jobs.get(assignment.run.id)) is None:
            return  # its run was stopped
        try:
            if job.state.speculation.items:
                self._settle_first(worker, job, assignment, done._replace(values=values), now)
            else:
                self._settle(worker, job, assignment, done, values, now)
        except BaseException as bug:  # noqa: BLE001 (see `_blame`)
            self._blame(job, bug, assignment)

    def _settle_first(self, worker: WorkerId, job: Job, call: Assignment, done: Done, now: float) -> None:
        """Pass outcomes to a run of whose items other workers may have had the first."""
        for part in fresh_parts(job.state, done):
            self._settle(worker, job, call, part, part.values, now)
        self._silence.supersede(job.state, now)

    def _settle(
        self,
        worker: WorkerId,
        job: Job,
        call: Assignment,
        done: Done,
        values: Sequence[Any],
        now: float,
    ) -> None:
        """Pass outcomes of a run's next items to it."""
        self._memory.note(worker, done.memory)
        job.preparation = None
        if job.keep is not None:
            job.keep(done.first, values, done.faults)
        failures = {}
        for place in done.faults:
            failures[done.first + place] = failure_of(job, call, done, place)
        if job.said:
            job.forget_said(done.first, len(values))
        parts, final = self._scheduler.settle(call, done.first, values, failures, now)
        job.sink.emit(events.ItemsDone(
            now, worker, done.id, done.first, len(values), len(final), len(failures) - len(final),
            done.seconds, done.each, done.moved, done.memory, done.final, job.state.chunker.current,
            *done.costs, without_bytes(call.chunk) if done.each else None,
        ))  # fmt: skip
        if job.state.delays:
            self.jobs.tell_delays(job, done)
        self.jobs.collect(job, parts, final)

    def _take_initialized(self, worker: WorkerId, done: Done, now: float) -> None:
        if self._workforce.initialized(worker, done):
            self._join(worker, now)
            return
        self._workforce.release(worker)  # it starts again, with its initializer, when the next run needs it
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
                self._post(job, assignment)
                self._scheduler.windows.move_back(assignment, now)
            else:  # its run was stopped while it was in transit
                self._scheduler.answer(assignment, 0, 0.0, now, final=True)

    def _part(self, worker: WorkerId, reason: str, event: events.WorkerLeft | events.WorkerLost) -> None:
        """Handle a lost worker: requeue its chunks, fail those that cannot be retried."""
        window = self._scheduler.windows.get(worker)
        runs = {call.run.id for call in window.calls.values()} if window is not None else set()
        head = self._scheduler.windows.head(worker) if window is not None else None
        died = isinstance(event, events.WorkerLost)
        hopeless = self._scheduler.lose(worker, died=died, starved=self._memory.ran_out(worker, reason))
        error = self._workforce.mourn(worker, reason) if died else None
        self._workforce.leave(worker)
        self.lines.lose(worker, reason, died=died)
        self.leaving.gone(worker)
        memory = self._memory.forget(worker)
        self.jobs.emit(event)
        for job in self.jobs if error is not None else ():
            self.jobs.end(job, error)
        for assignment in hopeless:
            if (job_or_none := self.jobs.get(assignment.run.id)) is not None:
                self.jobs.bury(job_or_none, assignment, death_of(job_or_none, assignment, reason, memory))
        if died and head is not None:
            self._blame_preparation(self.jobs.get(head.run.id), worker, reason)
        for run in runs:
            self.jobs.end_if_done(run)  # its remaining items may have been canceled

    def _blame_preparation(self, job: Job | None, worker: WorkerId, reason: str) -> None:
        """End a run whose preparation fails on all workers."""
        if job is not None and job.preparation is not None:
            error = job.preparation.killed(worker, reason)
            if error is not None:
                self.jobs.end(job, error)

    # ---- calls that cannot be handled

    def _blame(self, job: Job, bug: BaseException, call: Assignment | None = None) -> None:
        """End a run after a bug, possibly while handling one of its calls; the others continue."""
        if may_be_ctrl_c(bug):
            raise bug
        self.jobs.fail(job, bug, call)

    def _blame_for(self, worker: WorkerId, message: Message, bug: BaseException) -> None:
        """End the runs of a message that could not be handled; the others continue."""
        if may_be_ctrl_c(bug):
            raise bug
        if isinstance(bug, UnfitAnswerError) and self._backend.kill(worker, str(bug)):
            return  # its items are retried
        calls = calls_in(message)
        concerned = [call for number in calls if (call := self._scheduler.windows.call(number))]
        for number in calls if isinstance(message, Done) and message.final else ():
            self._scheduler.drop(number)
        for call in concerned:
            if (job_or_none := self.jobs.get(call.run.id)) is not None:
                self.jobs.fail(job_or_none, bug, call)
        for job in self.jobs if not concerned else ():
            self.jobs.fail(job, bug)

    def _take_back(self, messages: Sequence[Message], bug: BaseException) -> None:
        """End the runs whose calls could not be sent; independent ones that were together are sent singly."""
        for message in messages:
            if not isinstance(message, Call) or (call := self._scheduler.windows.call(message.id)) is None:
                continue
            number = len(call.chunk.items)
            if call.run.singly and number > 1 and not may_be_ctrl_c(bug):
                for part in reversed(call.chunk.parts(number)):
                    call.run.give_back(part)
            self._scheduler.drop(message.id)
            job = self.jobs.get(call.run.id)
            if job is not None and not (call.run.singly and number > 1):
                self._blame(job, bug, call)
