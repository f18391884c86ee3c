"""The dispatcher's thread and its inbox.

It owns the backend and the driver.  Other threads only put requests into its inbox.  A
backend that computes in the caller's own thread is driven by `step` there, and no thread is
started.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import nullcontext

from nbpar.backends.base import Backend
from nbpar.core.scheduling.runstate import RunState
from nbpar.core.scheduling.windows import Assignment
from nbpar.dispatch.driver import Driver
from nbpar.dispatch.failures import unhandled
from nbpar.dispatch.job import Job
from nbpar.dispatch.memory import NO_RULES, MemoryRules
from nbpar.dispatch.workforce import Initializer, Workforce
from nbpar.errors import InternalError, NbparError, PoolClosedError
from nbpar.host.ctrl_c import may_be_ctrl_c
from nbpar.host.deferred_sigint import hold

ATTEMPTS = 3
"""Number of consecutive failed steps after which the thread gives up."""

LINGER = 1e-3
"""Seconds after very short calls were sent within which their inputs are looked at without being asked to."""

BEGIN = 1.0
"""Seconds that threads may take to begin."""

COMES_BACK = 2.0
"""Seconds to wait for the thread when it hangs, before a call does without it."""

_BROKEN = "nbpar failed to handle this pool; the next map makes new workers"


class Dispatcher:
    """Executes requests of any thread in one thread."""

    _closed = False
    _closed_for: NbparError | None = None
    """The error for runs that were not over when it was closed, if not that the pool was closed."""

    _finishing = False
    """Whether it is to be closed as soon as nothing is under way."""

    _failure: InternalError | None = None
    """Why the thread has ended without being closed."""

    _busy = False
    """Whether messages arrived in the last step."""

    _abandoned = False
    """Whether all was closed without its thread, which may return to nothing."""

    _steps = 0
    _let_go_in = -1
    """The last step in which its thread was found to hang."""

    _lingers = False
    """Whether the next step comes within `LINGER` anyway."""

    def __init__(
        self,
        backend: Backend,
        *,
        initializer: Initializer | None = None,
        expecting: Callable[[], bool] = lambda: False,
        problem: Callable[[], str] = str,
        awaited: Callable[[], str] = str,
        rules: MemoryRules = NO_RULES,
        clock: Callable[[], float] = time.monotonic,
        bring_files: Callable[[], None] | None = None,
    ) -> None:
        self._backend = backend
        self._interrupts = backend.interrupts or nullcontext()
        self._clock = clock
        self._workforce = Workforce(backend, initializer, bring_files)
        self._driver = Driver(
            backend,
            self._workforce,
            expecting=expecting,
            problem=problem,
            awaited=awaited,
            now=clock(),
            rules=rules,
            request=self.request,
        )
        self.lines = self._driver.lines
        self._inbox: deque[Callable[[], None]] = deque()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()  # serializes starting and closing
        self._ids = itertools.count(1)

    # ---- from any thread

    @property
    def blocking(self) -> bool:
        """Whether the waiting thread must call `step`."""
        return self._backend.blocking

    @property
    def here(self) -> bool:
        """Whether this is the dispatcher's own thread."""
        return threading.current_thread() is self._thread

    @property
    def idle(self) -> bool:
        """Whether a step would have nothing to do; for one that the waiting thread steps."""
        return not (self._inbox or len(self._driver.jobs))

    @property
    def unused(self) -> bool:
        """Whether nothing is under way, and no channel was ever used, whose code may keep values."""
        return self.idle and not self.lines.used

    @property
    def running(self) -> dict[str, str]:
        """Descriptions of the current work of each busy worker."""
        return self._driver.jobs.running()

    @property
    def failed(self) -> bool:
        """Whether a bug of nbpar has ended its thread, so that nothing can start though it was not closed."""
        return self._failure is not None

    @property
    def without_files(self) -> list[str]:
        """Workers that wait for the pool's files."""
        return self._workforce.without_files

    def files_came(self, workers: Iterable[str]) -> None:
        """Let workers begin: their hosts have the pool's files."""
        self.request(lambda: self._driver.files.came(workers))

    def files_refused(self, error: Exception) -> None:
        """Note that the files could not be copied to all hosts."""
        self.request(lambda: self._driver.files.refused(error))

    def new_id(self) -> int:
        """Return a number for a new run."""
        return next(self._ids)

    def start(self, job: Job) -> None:
        """Start a job."""
        self.admit(lambda: self._driver.begin(job, self._clock()))

    def admit(self, action: Callable[[], None]) -> None:
        """Start something in the dispatcher's thread.

        Raises:
            PoolClosedError: it was closed; or the error passed to `close`.
            InternalError: it has ended, because of a bug.
        """
        with self._lock:
            if self._failure is not None:
                raise unhandled(_BROKEN, self._failure.__cause__ or self._failure)
            if self._closed:
                raise _again(self._closed_for) if self._closed_for else PoolClosedError()
            if self._thread is None and not self.blocking:
                thread = threading.Thread(target=self._main, name="nbpar dispatcher", daemon=True)
                with hold:  # after Ctrl-C between these two it would be started again
                    thread.start()
                    self._thread = thread
            # under the lock: after closing, nothing would process it
            self.request(action)

    def await_threads(self) -> None:
        """Wait a moment until workers that are threads of this process have begun."""
        deadline = time.monotonic() + BEGIN
        while self._backend.in_process and not self._driver.complete and time.monotonic() < deadline:
            time.sleep(BEGIN / 1000)

    def stir(self, state: RunState, *, lazily: bool = False) -> None:
        """Reconsider a run's input soon: it has changed; `lazily`: very short calls may wait a moment."""
        self._driver.stirred.append(state)
        if not (lazily and self._lingers) and not self.here:
            self._backend.wake()

    def stop(self, job: Job, error: BaseException | None) -> None:
        """End a job: drop pending items, interrupt running ones; its sink gets `error`."""
        self.request(lambda: self._driver.end(job, error))

    def let_go(self, job: Job) -> bool:
        """Whether a job whose end was requested must be left alone: its thread does not come to it.

        It is then in code of the user's, such as a result's `__setstate__`, and may never return.
        """
        if self.blocking or job.ending is not None or self.here:
            return False
        self._let_go_in = self._steps
        return True

    @property
    def hangs(self) -> bool:
        """Whether its thread has not come back since it had to be left alone."""
        return self._let_go_in == self._steps

    def await_step(self) -> None:
        """If its thread hangs, wait a moment for it to come back."""
        deadline = time.monotonic() + COMES_BACK
        while self.hangs and time.monotonic() < deadline:
            time.sleep(COMES_BACK / 100)

    def runs(self, assignment: Assignment, index: int) -> bool:
        """Whether its worker runs this item, rather than having it queued, as far as is known."""
        return self._driver.jobs.runs(assignment, index)

    def drop(self, job: Job, index: int) -> None:
        """Stop one item of a job; it may have no outcome."""
        self.request(lambda: self._driver.jobs.drop(job, index))

    def skip(self, job: Job, index: int) -> None:
        """Let go of one item of a job, which gets a `SkippedError` as its outcome unless it has one."""
        self.request(lambda: self._driver.skips.skip(job, index, self._clock()))

    def retire(self, workers: list[str], then: Callable[[str], None]) -> None:
        """Release workers permanently, each after its current work; `then` is called for each."""
        if self._thread is not None:
            self.request(lambda: self._driver.leaving.retire(workers, then))
            return
        for worker in workers:  # nothing has started yet
            then(worker)

    def interrupt_code(self, worker: str, channel: int) -> None:
        """Interrupt the code of a channel, if it is running in its worker's main thread."""
        self.request(lambda: self.lines.interrupt(worker, channel, self._clock()))

    def request(self, action: Callable[[], None]) -> None:
        """Run a function in the dispatcher's thread, soon."""
        self._inbox.append(action)
        self._backend.wake()

    def close(self, timeout: float = 5.0, *, error: NbparError | None = None) -> None:
        """End all jobs, release the workers, end the thread.  Idempotent.

        Their runs, and those that start meanwhile, get `error`, or PoolClosedError.
        """
        with self._lock:
            if not self._closed:
                self._closed, self._closed_for = True, error
        thread = self._thread
        if thread is None:
            self._close_down(self._closed_too_early())
        elif thread is not threading.current_thread():
            self._backend.wake()
            thread.join(COMES_BACK if self.hangs else timeout)
            if thread.is_alive():  # in code of the user's, such as a result's `__setstate__`
                self._abandoned = True
                self._do_requests()  # jobs that it has not seen must be ended, too
                self._driver.jobs.abandon(self._closed_too_early())

    def finish(self) -> None:
        """Wait until its jobs are over and no channel is in use any more, then close it.

        One that is driven in the caller's own thread is left as it is.
        """
        self._finishing = True
        if (thread := self._thread) is not None:
            self._backend.wake()
            thread.join()

    def _closed_too_early(self) -> NbparError:
        return self._closed_for or PoolClosedError("the pool was closed before the run was over")

    # ---- the thread

    def step(self) -> None:
        """Do all pending work, and wait for the next event.

        In the caller's own thread Ctrl-C interrupts items and input only, or is raised afterwards.
        """
        with self._interrupts:
            self._step()

    def _step(self) -> None:
        self._steps += 1
        had_jobs = len(self._driver.jobs) > 0
        self._do_requests()
        now = self._clock()
        self._driver.prepare(now, busy=self._busy)
        try:
            ended = had_jobs and not len(self._driver.jobs)  # nothing more comes for who waited for them
            arrived = self._backend.receive(0.0 if ended else self._pause(now))
        except KeyboardInterrupt:  # Ctrl-C in an item that ran in this thread: its finished outcomes are kept
            self._driver.take(self._backend.receive(0.0), self._clock())
            raise
        self._busy = bool(arrived)
        self._driver.take(arrived, self._clock())
        arrived.clear()  # the error of an item that ran in this thread holds this frame

    def _pause(self, now: float) -> float | None:
        """Return how long to wait for messages.

        A thread that hands in very short calls would be held up by waking this one for each, which then
        sends them one by one.
        """
        pause = self._driver.pause_before(now)
        self._lingers = lingers = self._driver.lingers  # before it looks whether there is something
        if self._inbox or self._closed or (self._driver.stirred and not lingers):
            return 0.0
        return min(LINGER, LINGER if pause is None else pause) if lingers else pause

    def _do_requests(self) -> None:
        while self._inbox:
            action = self._inbox.popleft()
            try:
                action()
            except BaseException as bug:
                if may_be_ctrl_c(bug):
                    raise
                self._driver.jobs.fail_all(bug)

    def _main(self) -> None:
        error: BaseException | None = None
        try:
            self._go_on()
        except BaseException as bug:  # a bug here must not leave threads waiting for ever
            if self._abandoned:
                return
            error = unhandled("nbpar failed to handle this pool", bug)
            error.__cause__ = bug
            with self._lock:  # a job that is being started is either rejected or ended below
                self._closed, self._failure = True, error
            raise
        finally:
            if not self._abandoned:
                self._close_down(error or self._closed_too_early())

    def _go_on(self) -> None:
        """Do steps until it is closed.

        A failed step ends the current runs, since none may wait for what it has lost.

        Raises:
            BaseException: several steps in a row fail.
        """
        failed = 0
        while not self._closed:
            try:
                self._step()
                failed = 0
                if self._finishing:
                    self._close_if_idle()
            except BaseException as bug:
                failed += 1
                if failed >= ATTEMPTS:
                    raise
                self._driver.jobs.fail_all(bug)

    def _close_if_idle(self) -> None:
        if not (len(self._driver.jobs) or self.lines.wanted):
            with self._lock:
                self._closed = self._closed or not self._inbox

    def _close_down(self, error: BaseException) -> None:
        try:
            self._do_requests()
            self.lines.close("the pool was closed" if isinstance(error, PoolClosedError) else str(error))
            for job in self._driver.jobs:
                self._driver.end(job, error)
            self._backend.close()
        finally:  # also if the backend itself is broken
            self._driver.close()
            self._driver.jobs.abandon(error)


def _again(error: NbparError) -> NbparError:
    """Return a copy of an error, which several threads may raise."""
    return type(error)(*error.args)


class Stir:
    """Wakes a dispatcher to reconsider one run's input; the run may be set later."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self.state: RunState | None = None

    def __call__(self) -> None:
        if self.state is not None:
            self._dispatcher.stir(self.state)
