"""Progress of a pipeline: per stage, per pool, and overall."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Protocol

from nbpar.core import events
from nbpar.core.outcome import Failure, Part
from nbpar.core.progress import Progress
from nbpar.core.snapshot import Snapshot, StageFigures
from nbpar.core.stages import StageFailure


class PipelineTotals(Protocol):
    """Receives the events of the whole pipeline."""

    def take_failure(self, failure: StageFailure, at: float) -> None:
        """Handle the final failure of an item, in any stage."""

    def take_of_any(self, event: events.Event) -> None:
        """Handle an event of any stage that concerns the whole pipeline."""

    def nudge(self) -> None:
        """Wake a waiting thread."""

    def abort(self, error: BaseException) -> None:
        """End every stage."""


class _Nobody:
    """Ignores events that arrive after the pipeline's end."""

    def take_failure(self, failure: StageFailure, at: float) -> None:
        """Do nothing: the end was reported."""

    def take_of_any(self, event: events.Event) -> None:
        """Likewise."""

    def nudge(self) -> None:
        """Do nothing: no thread waits."""

    def abort(self, error: BaseException) -> None:
        """Every stage has been ended."""


_NOBODY = _Nobody()


@dataclass(frozen=True, slots=True)
class StageFacts:
    """Constant facts of a stage."""

    name: str
    place: int
    backend: str
    workers: int
    shared: bool
    room: int | None
    batch: int | None
    waiting: Callable[[], int]


class StageListener:
    """Listens to one stage: adds the stage to failures, and keeps its figures."""

    def __init__(self, run: PipelineTotals, facts: StageFacts, pool: PoolProgress, *, frugal: bool) -> None:
        self._run: PipelineTotals = run
        self._facts = facts
        self._progress = Progress(frugal=frugal)
        self._pool = pool
        self.own: dict[int, StageFailure] = {}
        """Failures of this stage that have not been passed on."""

    def event(self, event: events.Event) -> None:
        """Handle an event of the stage."""
        self._progress(event)
        self._pool(event)
        self._run.nudge()
        if type(event) is events.ItemFailed:
            failure = self._placed(event.failure)
            self.own[failure.index] = failure
            self._run.take_failure(failure, event.at)
        elif type(event) in (events.ItemPrinted, events.StacksSampled):
            self._run.take_of_any(event)

    def named(self, part: Part) -> Part:
        """Return the outcomes, with the stage noted in failures."""
        if not part.failures:
            return part
        failures = {index: self.own.pop(index, failure) for index, failure in part.failures.items()}
        return Part(part.first, part.values, failures)

    def aborted(self, error: BaseException) -> None:
        """End the pipeline, because this stage has ended early."""
        self._run.abort(error)

    def end(self, error: BaseException | None) -> None:
        """Handle the end of the pipeline."""
        self._run = _NOBODY  # which refers to this listener
        if not self._progress.snapshot(0.0).over:
            state = "done" if error is None else "failed"
            self._progress(events.RunFinished(time.monotonic(), state))

    def figures(self, now: float) -> StageFigures:
        """Return the current figures of the stage."""
        facts = self._facts
        return StageFigures(
            facts.name, facts.place, facts.backend, facts.workers, facts.shared, facts.waiting(), facts.room,
            self._progress.snapshot(now),
        )  # fmt: skip

    def _placed(self, failure: Failure) -> StageFailure:
        facts = self._facts
        batch = None if facts.batch is None else failure.index // facts.batch
        known = {field.name: getattr(failure, field.name) for field in fields(Failure)}
        return StageFailure(**known, stage=facts.name, place=facts.place, batch=batch, batch_size=facts.batch)


class PoolProgress:
    """Folds the events of all stages on one pool's workers; an event that all of them get is counted once."""

    def __init__(self, *, frugal: bool) -> None:
        self._progress = Progress(frugal=frugal)
        self._begun = False
        self._latest: events.Event | None = None

    def __call__(self, event: events.Event) -> None:
        """Handle an event of one of the stages."""
        kind = type(event)
        if event is self._latest or (kind is events.RunStarted and self._begun):
            return
        self._begun, self._latest = True, event
        self._progress(event)

    def end(self) -> None:
        """Handle the end of the pipeline."""
        self._progress(events.RunFinished(time.monotonic(), "done"))

    def snapshot(self, now: float) -> Snapshot:
        """Return the current figures."""
        return self._progress.snapshot(now)


class SharedProgress(Progress):
    """The fold of a whole pipeline, whose stages may be in several threads."""

    def __init__(self, *, frugal: bool = False) -> None:
        super().__init__(frugal=frugal)
        self._lock = threading.Lock()

    def __call__(self, event: events.Event) -> None:
        with self._lock:
            super().__call__(event)
