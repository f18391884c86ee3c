"""Workers that leave after their current item."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from nbpar.backends.base import Backend, WorkerId
from nbpar.core.scheduling.scheduler import Scheduler
from nbpar.dispatch.workforce import Workforce
from nbpar.host.error_log import call_safely

Then = Callable[[WorkerId], None]


class Retirement:
    """Leaving workers, with the callbacks to notify."""

    def __init__(self, scheduler: Scheduler, workforce: Workforce, backend: Backend) -> None:
        self._scheduler = scheduler
        self._workforce = workforce
        self._backend = backend
        self._leaving: dict[WorkerId, Then] = {}

    def retire(self, workers: list[WorkerId], then: Then) -> None:
        """Release workers after their current work; `then` is called for each."""
        for worker in workers:
            self._leaving[worker] = then
            waiting = self._scheduler.retire(worker)
            if waiting:
                self._workforce.cancel(worker, [call.id for call in waiting])
            if worker not in self._workforce.ready:  # its loop is not running: it may go at once
                self._backend.retire(worker)
                self.gone(worker)

    def retire_later(self, worker: WorkerId, then: Then) -> None:
        """Release a worker when it has answered all its calls, unless it is leaving already."""
        if worker not in self._leaving:
            self._leaving[worker] = then
            self._scheduler.retire(worker)
            self._scheduler.hold(worker)  # it may be in an assignment that is being made

    def release(self) -> None:
        """Release the workers without remaining work."""
        if self._leaving:
            for worker in self._scheduler.windows.retired():
                self._workforce.retire(worker)

    def gone(self, worker: WorkerId) -> None:
        """Report that a worker is gone."""
        if (then := self._leaving.pop(worker, None)) is not None:
            call_safely(partial(then, worker), f"{worker} has left, which could not be told")
