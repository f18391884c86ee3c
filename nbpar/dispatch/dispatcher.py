"""The one thread of a pool.

It owns the backend and the driver.  Other threads only put requests into its inbox.  A
backend that computes in the caller's own thread is driven by `step` there, and no thread is
started.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from nbpar.backends.base import Backend
from nbpar.dispatch.driver import Driver
from nbpar.dispatch.job import Job
from nbpar.dispatch.memory import NO_RULES, MemoryRules
from nbpar.dispatch.workforce import Workforce
from nbpar.errors import PoolClosedError
from nbpar.wire.messages import Load


class Dispatcher:
    """Requests from any thread, done in one."""

    def __init__(
        self,
        backend: Backend,
        *,
        initializer: tuple[Load, tuple[Any, ...]] | None = None,
        expecting: Callable[[], bool] = lambda: False,
        problem: Callable[[], str] = str,
        rules: MemoryRules = NO_RULES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._backend = backend
        self._interrupts = getattr(backend, "interrupts", nullcontext())
        self._clock = clock
        self._driver = Driver(
            backend,
            Workforce(backend, initializer),
            expecting=expecting,
            problem=problem,
            now=clock(),
            rules=rules,
        )
        self.lines = self._driver.lines
        self.lines.request = self.request
        self._inbox: deque[Callable[[], None]] = deque()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()  # for starting and closing only
        self._closed = False
        self._busy = False
        """Whether workers said something in the last step."""

        self._ids = itertools.count(1)

    # ---- from any thread

    @property
    def blocking(self) -> bool:
        """Whether whoever waits has to call `step`."""
        return self._backend.blocking

    @property
    def here(self) -> bool:
        """Whether the caller is the dispatcher's own thread."""
        return threading.current_thread() is self._thread

    @property
    def running(self) -> dict[str, str]:
        """What each busy worker runs, in words."""
        return self._driver.jobs.running()

    def new_id(self) -> int:
        """Return a number for a new run."""
        return next(self._ids)

    def start(self, job: Job) -> None:
        """Let a job begin."""
        self.admit(lambda: self._driver.begin(job, self._clock()))

    def admit(self, action: Callable[[], None]) -> None:
        """Have something begun in the dispatcher's thread.

        Raises:
            PoolClosedError: nothing begins any more.
        """
        with self._lock:
            if self._closed:
                raise PoolClosedError
            if self._thread is None and not self.blocking:
                self._thread = threading.Thread(target=self._main, name="nbpar dispatcher", daemon=True)
                self._thread.start()
            # under the lock: after closing nobody would look at it
            self.request(action)

    def stop(self, job: Job, error: BaseException | None) -> None:
        """End a job: forget what has not begun, interrupt what runs; its sink is told `error`."""
        self.request(lambda: self._driver.jobs.end(job, error))

    def retire(self, workers: list[str], then: Callable[[str], None]) -> None:
        """Let workers go for good, each when it is through with what it runs; `then` is called for each."""
        if self._thread is not None:
            self.request(lambda: self._driver.leaving.retire(workers, then))
            return
        for worker in workers:  # nothing has begun yet
            then(worker)

    def interrupt_code(self, worker: str, channel: int) -> None:
        """Interrupt the code of a channel, if it runs in its worker's main thread."""
        self.request(lambda: self.lines.interrupt(worker, channel, self._clock()))

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
            self._close_down(_closed_too_early())
        elif thread is not threading.current_thread():
            self._backend.wake()
            thread.join(timeout)

    # ---- the thread

    def step(self) -> None:
        """Do what can be done now, and wait for what comes next.

        In the caller's own thread Ctrl-C strikes items and input only, or when this is over.
        """
        with self._interrupts:
            self._step()

    def _step(self) -> None:
        while self._inbox:
            self._inbox.popleft()()
        now = self._clock()
        self._driver.prepare(now, busy=self._busy)
        try:
            arrived = self._backend.receive(
                0.0 if self._inbox or self._closed else self._driver.pause_before(now)
            )
        except KeyboardInterrupt:  # Ctrl-C in an item that ran here: what it had finished is kept
            self._driver.take(self._backend.receive(0.0), self._clock())
            raise
        self._busy = bool(arrived)
        self._driver.take(arrived, self._clock())

    def _main(self) -> None:
        error: BaseException = _closed_too_early()
        try:
            while not self._closed:
                self._step()
        except BaseException as bug:  # a bug here must not leave anybody waiting
            with self._lock:  # a job that is being started is either refused or ended below
                self._closed = True
            error = bug
            raise
        finally:
            self._close_down(error)

    def _close_down(self, error: BaseException) -> None:
        try:
            while self._inbox:
                self._inbox.popleft()()
            self.lines.close("the pool was closed" if isinstance(error, PoolClosedError) else str(error))
            for job in self._driver.jobs:
                self._driver.jobs.end(job, error)
            self._backend.close()
        finally:  # also when the backend is what broke
            self._driver.jobs.abandon(error)


def _closed_too_early() -> PoolClosedError:
    return PoolClosedError("the pool was closed before the run was over")
