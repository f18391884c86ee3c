"""Hear what happens in the stages of a pipeline: figures of each, of each pool, and of the whole."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Protocol

from nbpar.core import events
from nbpar.core.outcome import Failure, Part
from nbpar.core.progress import Progress, Snapshot
from nbpar.core.stages import StageFailure, StageFigures


class Whole(Protocol):
    """The pipeline, as its stages tell it."""

    def take_failure(self, failure: StageFailure, at: float) -> None:
        """Take in that an item failed for good, in any stage."""

    def take_of_any(self, event: events.Event) -> None:
        """Take in what happened in any stage, and is told of the whole."""

    def nudge(self) -> None:
        """Something has happened."""

    def abort(self, error: BaseException) -> None:
        """End every stage."""


@dataclass(frozen=True, slots=True)
class StageFacts:
    """What does not change about a stage."""

    name: str
    place: int
    backend: str
    workers: int
    shared: bool
    room: int | None
    batch: int | None
    waiting: Callable[[], int]


class StageEar:
    """Hears one stage: gives failures their place, keeps the figures."""

    def __init__(self, run: Whole, facts: StageFacts, pool: PoolProgress) -> None:
        self._run = run
        self._facts = facts
        self._progress = Progress()
        self._pool = pool
        self.own: dict[int, StageFailure] = {}
        """Failures of this stage that have not been handed on."""

    def event(self, event: events.Event) -> None:
        """Take in an event of the stage."""
        self._progress(event)
        self._pool(event)
        self._run.nudge()
        if type(event) is events.ItemFailed:
            failure = self._placed(event.failure)
            self.own[failure.index] = failure
            self._run.take_failure(failure, event.at)
        elif type(event) is events.ItemPrinted:
            self._run.take_of_any(event)

    def named(self, part: Part) -> Part:
        """Return the outcomes with failures that know their stage."""
        if not part.failures:
            return part
        failures = {index: self.own.pop(index, failure) for index, failure in part.failures.items()}
        return Part(part.first, part.values, failures)

    def aborted(self, error: BaseException) -> None:
        """End the pipeline: this stage has ended before its time."""
        self._run.abort(error)

    def end(self, error: BaseException | None) -> None:
        """Take in that the pipeline is over."""
        if not self._progress.snapshot(0.0).over:
            state = "done" if error is None else "failed"
            self._progress(events.RunFinished(time.monotonic(), state))

    def figures(self, now: float) -> StageFigures:
        """Return how the stage does now."""
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
    """Folds the events of all stages on one pool's workers; what all of them hear is taken once."""

    def __init__(self) -> None:
        self._progress = Progress()
        self._begun = False
        self._latest: events.Event | None = None

    def __call__(self, event: events.Event) -> None:
        """Take in an event of one of the stages."""
        kind = type(event)
        if event is self._latest or (kind is events.RunStarted and self._begun):
            return
        self._begun, self._latest = True, event
        self._progress(event)

    def end(self) -> None:
        """Take in that the pipeline is over."""
        self._progress(events.RunFinished(time.monotonic(), "done"))

    def snapshot(self, now: float) -> Snapshot:
        """Return what was counted up to now."""
        return self._progress.snapshot(now)


class SharedProgress(Progress):
    """The fold of a whole pipeline, whose stages may be in several threads."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()

    def __call__(self, event: events.Event) -> None:
        with self._lock:
            super().__call__(event)
