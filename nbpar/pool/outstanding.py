"""What was submitted to a pool and is not done: it is finished before the interpreter ends."""

from __future__ import annotations

import time
from concurrent import futures
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any

from nbpar.host.interpreter_exit import STARTS_NO_THREADS

if TYPE_CHECKING:
    from nbpar.dispatch.dispatcher import Dispatcher
    from nbpar.run.run import Run

BEGIN = 0.1
"""Seconds for a pending call to start on a free worker before `shutdown` cancels it."""


HANDOVER = 5.0
"""Maximal seconds from the end of a call until its callbacks are in their thread, on a loaded machine."""


class OutstandingWork:
    """Calls and maps of one executor, or of one pool, that are not done."""

    def __init__(self) -> None:
        self.by_caller = False
        self.futures: dict[Future[Any], None] = {}
        """Calls, the newest last."""

        self.runs: dict[Run, None] = {}
        """Maps whose items are all computed, whether their results are taken or not."""

    def add(self, future: Future[Any]) -> None:
        self.futures[future] = None

    def discard(self, future: Future[Any]) -> None:
        self.futures.pop(future, None)

    def add_run(self, run: Run, *, by_caller: bool) -> None:
        """Register a map; `by_caller`: it continues only while a caller waits for it."""
        self.by_caller = by_caller
        self.runs[run] = None
        run.when_over(partial(self._discard_run, run))

    def _discard_run(self, run: Run) -> None:
        self.runs.pop(run, None)

    def wait(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        for future in list(self.futures):
            futures.wait([future], max(0.0, deadline - time.monotonic()))
            if not future.done():
                return False
            self.await_callbacks(future)
        for run in list(self.runs):
            try:
                run.wait(max(0.0, deadline - time.monotonic()))
            except TimeoutError:
                return False
        return True

    def await_callbacks(self, future: Future[Any]) -> None:
        """Wait until the callbacks of a finished call are handed to their thread, which is a moment later."""
        deadline = time.monotonic() + HANDOVER
        while future in self.futures and time.monotonic() < deadline:
            time.sleep(0.001)

    def cancel(self, *, running: bool = True) -> None:
        """Stop maps, and calls; unless those that are `running` are to go on."""
        for run in list(self.runs):
            run.cancel()
        waiting = list(self.futures)
        if waiting and not running:
            _let_begin(waiting[0])
        for future in reversed(waiting):  # so that none begins meanwhile
            if running or not future.running():
                future.cancel()


def prepare_for_exit(dispatcher: Dispatcher) -> None:
    """Wait for threads to begin if they could not do so while the interpreter ends."""
    if STARTS_NO_THREADS and not dispatcher.blocking:
        dispatcher.await_threads()


def _let_begin(future: Future[Any]) -> None:
    """Give a submitted call time to start on a free worker, as it would in a standard executor."""
    deadline = time.monotonic() + BEGIN
    while not (future.running() or future.done()) and time.monotonic() < deadline:
        time.sleep(BEGIN / 50)
