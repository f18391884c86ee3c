"""Workers that do not answer: they get no new work, and idle workers begin what they have as well."""

from __future__ import annotations

from nbpar.core.scheduling.runstate import RunState
from nbpar.core.scheduling.windows import Assignment, Windows, WorkerId


class Silence:
    """The silent ones among the workers.

    Nothing is taken away from them, because they may be well behind a network that is not: whichever worker
    answers first for an item counts (`core.speculation`).
    """

    def __init__(self, windows: Windows) -> None:
        self._windows = windows
        self._workers: dict[WorkerId, None] = {}

    def __contains__(self, worker: WorkerId) -> bool:
        return worker in self._workers

    def begin(self, worker: WorkerId) -> None:
        """Note that a worker does not answer."""
        if (window := self._windows.get(worker)) is not None:
            self._workers[worker] = None
            window.silent = True
            for call in window.calls.values():
                call.alone = False  # the time until its answer says nothing about round trips

    def end(self, worker: WorkerId) -> list[Assignment]:
        """Note that a worker answers again, or is gone; return its calls that others have finished."""
        self._workers.pop(worker, None)
        if (window := self._windows.get(worker)) is None:
            return []
        window.silent = False
        return [call for call in window.calls.values() if call.superseded]

    def speculate(self) -> bool:
        """Let idle workers begin a part of what a silent one has; return whether there was any.

        Not what belongs to that worker alone, nor what has killed a worker before, which may be the reason.
        """
        if not self._workers or not (idle := self._windows.free()):
            return False
        for worker in self._workers:
            for call in self._windows[worker].calls.values():
                if _may_be_copied(call) and any(call.run.admits(other) for other in idle):
                    for part in call.run.speculation.alone(call.unanswered):
                        call.run.copy(call.chunk.part(part), len(idle))
                        return True
        return False

    def supersede(self, run: RunState) -> list[Assignment]:
        """Return the calls of a run whose items others have finished; the run waits for them no more."""
        over = [
            call
            for call in self._windows.calls_of(run)
            if call.unanswered and not run.speculation.unsettled(call.unanswered)
        ]
        for call in over:
            call.supersede()
            run.speculation.end(call.unanswered)
        return over


def _may_be_copied(call: Assignment) -> bool:
    run = call.run
    return not (call.superseded or call.chunk.deaths or run.pinned is not None or run.paused or run.cancelled)
