"""One pipeline under way."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING

from nbpar.core import events
from nbpar.core.outcome import Failure, Part
from nbpar.core.progress import Progress, Snapshot
from nbpar.core.stages import Bottleneck, StageFailure, StageFigures, bottleneck
from nbpar.core.whole import whole
from nbpar.dispatch.job import Job
from nbpar.pipeline.conductor import Conductor
from nbpar.pipeline.links import Head
from nbpar.reporting import report_of
from nbpar.run import Run

if TYPE_CHECKING:
    from nbpar.views.run_report import Report


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


class PipelineRun(Run):
    """A pipeline that has begun: a `Run` with figures for each stage."""

    def __init__(
        self,
        conductor: Conductor,
        *,
        label: str,
        errors: str,
        streaming: bool,
        max_errors: int | None,
        head: Head,
    ) -> None:
        super().__init__(conductor, label=label, errors=errors, streaming=streaming)
        self.head = head
        self._conductor = conductor
        self._most_failures = 0 if errors == "raise" and not streaming else max_errors
        self._cause: BaseException | None = None
        """What ended it before its time, in whichever stage: the first of all."""

        self._ears: list[StageEar] = []
        self._pools: dict[str, PoolProgress] = {}
        """What workers do for all stages that they serve, by backend."""

    @property
    def stages(self) -> tuple[StageFigures, ...]:
        """How each stage does, in the order in which items pass them."""
        now = time.monotonic()
        return tuple(ear.figures(now) for ear in self._ears)

    @property
    def bottleneck(self) -> Bottleneck | None:
        """The stage that limits the pipeline; None before any outcome."""
        return bottleneck(self.stages)

    @property
    def snapshot(self) -> Snapshot:
        """How the whole pipeline went, or goes, in figures; `snapshot.stages` has those of each stage."""
        seen, now = super().snapshot, time.monotonic()
        pools = [pool.snapshot(now) for pool in list(self._pools.values())]
        return whole(seen, self.label, self.stages, pools, len(self.failures))

    # ---- for the wiring

    def listen(self, facts: StageFacts) -> StageEar:
        """Return what hears the events of one stage."""
        pool = self._pools.setdefault(facts.backend, PoolProgress())
        self._ears.append(StageEar(self, facts, pool))
        return self._ears[-1]

    def begin_all(self) -> None:
        """Let every stage begin."""
        self.prepare(self._conductor.jobs[-1][1])
        self.begin()

    def take_failure(self, failure: StageFailure, at: float) -> None:
        """Take in that an item failed for good, in any stage."""
        super().emit(events.ItemFailed(at, failure))
        if self._most_failures is not None and len(self.failures) > self._most_failures:
            self.abort(failure.exception)

    def take_printed_of(self, event: events.ItemPrinted) -> None:
        """Take in what an item printed, in any stage."""
        super().emit(event)

    def nudge(self) -> None:
        """Something has happened: whoever runs stages in his own thread looks again."""
        self._conductor.nudge()

    def abort(self, error: BaseException) -> None:
        """End every stage."""
        assert self._job is not None
        self._cause = self._cause or error
        self._conductor.stop(self._job, error)

    # ---- sink of the last stage

    def deliver(self, parts: list[Part]) -> None:
        last = self._ears[-1]
        for part in parts:
            lost = [failure for failure in part.failures.values() if failure.index not in last.own]
            if lost:  # it failed on the way; nothing was heard of it here
                self._progress(_lost_on_the_way(part, len(lost)))
        super().deliver([last.named(part) for part in parts])
        self._conductor.nudge()

    def finish(self, error: BaseException | None) -> None:
        error = self._cause or error
        if error is not None:
            self.abort(error)
        for ear in self._ears:
            ear.end(error)
        for pool in self._pools.values():
            pool.end()
        super().finish(error)
        self._conductor.nudge()

    def emit(self, event: events.Event) -> None:
        self._ears[-1].event(event)
        if type(event) not in (events.ItemFailed, events.ItemPrinted):
            super().emit(event)

    # ---- inside

    def _reporter(self) -> Callable[[], Report]:
        return partial(report_of, self.snapshot, chunksize=None, reading=self.head.reading)

    def _consume(self, items: int) -> None:
        dispatcher, job = self._conductor.jobs[-1]
        if dispatcher.blocking:
            job.state.consume(items)
        else:
            dispatcher.request(lambda: job.state.consume(items))

    def _set_paused(self, *, paused: bool) -> None:
        for dispatcher, job in self._conductor.jobs:
            dispatcher.request(_setter(job, paused=paused))
        self._progress(events.RunPaused(time.monotonic(), paused))


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


class StageEar:
    """Hears one stage: gives failures their place, keeps the figures."""

    def __init__(self, run: PipelineRun, facts: StageFacts, pool: PoolProgress) -> None:
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
            self._run.take_printed_of(event)

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


def _setter(job: Job, *, paused: bool) -> Callable[[], None]:
    def act() -> None:
        job.state.paused = paused

    return act


def _lost_on_the_way(part: Part, failed: int) -> events.ItemsDone:
    return events.ItemsDone(
        time.monotonic(), "", -1, part.first, failed, failed, 0, 0.0, (), 0, 0, final=True, chunk_size=1
    )
