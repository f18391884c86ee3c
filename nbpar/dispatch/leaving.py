"""Workers that leave for good, each when it is through with what it runs."""

from __future__ import annotations

from collections.abc import Callable

from nbpar.backends.base import Backend, WorkerId
from nbpar.core.scheduler import Scheduler
from nbpar.dispatch.workforce import Workforce

Then = Callable[[WorkerId], None]


class Leaving:
    """Who is on the way out, and who is to be told."""

    def __init__(self, scheduler: Scheduler, workforce: Workforce, backend: Backend) -> None:
        self._scheduler = scheduler
        self._workforce = workforce
        self._backend = backend
        self._leaving: dict[WorkerId, Then] = {}

    def retire(self, workers: list[WorkerId], then: Then) -> None:
        """Let workers go when they are through with what they run; `then` is called for each."""
        for worker in workers:
            self._leaving[worker] = then
            waiting = self._scheduler.retire(worker)
            if waiting:
                self._workforce.cancel(worker, [call.id for call in waiting])
            if worker not in self._workforce.ready:  # its loop does not run: it may go at once
                self._backend.retire(worker)
                self.gone(worker)

    def retire_later(self, worker: WorkerId, then: Then) -> None:
        """Let a worker go when it has answered all it was given, unless it is leaving already."""
        if worker not in self._leaving:
            self._leaving[worker] = then
            self._scheduler.retire(worker)
            self._scheduler.hold(worker)  # it may be its turn in an assignment that is being made

    def release(self) -> None:
        """Let those go that have nothing left to do."""
        if self._leaving:
            for worker in self._scheduler.windows.retired():
                self._workforce.retire(worker)

    def gone(self, worker: WorkerId) -> None:
        """Tell that a worker is gone."""
        if (then := self._leaving.pop(worker, None)) is not None:
            then(worker)
