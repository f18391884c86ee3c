"""One pipeline under way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from nbpar.core import events
from nbpar.core.outcome import Part
from nbpar.core.progress import Snapshot
from nbpar.core.stages import Bottleneck, StageFailure, StageFigures, bottleneck
from nbpar.core.whole import whole
from nbpar.dispatch.job import Job
from nbpar.journalled import room
from nbpar.pipeline.conductor import Conductor
from nbpar.pipeline.ears import PoolProgress, SharedProgress, StageEar, StageFacts
from nbpar.pipeline.links import Head
from nbpar.reporting import report_of
from nbpar.run import Run, Watch

if TYPE_CHECKING:
    from nbpar.pipeline.resuming import ResumedItems
    from nbpar.views.run_report import Report


class PipelineRun(Run):
    """A pipeline that has begun: a `Run` with figures for each stage."""

    def __init__(
        self,
        conductor: Conductor,
        head: Head,
        *,
        label: str,
        errors: str,
        streaming: bool,
        max_errors: int | None,
    ) -> None:
        super().__init__(conductor, label=label, errors=errors, streaming=streaming)
        self.head = head
        self._progress = SharedProgress()
        self._resumed: ResumedItems | None = None
        self.pipeline: object = None
        """What it belongs to, which must live as long, because its pools end with it."""
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

    def wait(self, timeout: float | None = None, watch: Watch | None = None) -> None:
        super().wait(timeout, watch)
        self._conductor.settle()

    # ---- for the wiring

    def listen(self, facts: StageFacts) -> StageEar:
        """Return what hears the events of one stage."""
        pool = self._pools.setdefault(facts.backend, PoolProgress())
        self._ears.append(StageEar(self, facts, pool))
        return self._ears[-1]

    def resume_with(self, items: ResumedItems) -> None:
        """Keep results in the journal whose known ones are left out of the input."""
        self._resumed = items

    def room_from(self, following: int) -> int:
        """How many known results, from an index on, the consumer has room for."""
        return room(self._conductor.jobs[-1][1].state, following)

    def begin_all(self) -> None:
        """Let every stage begin."""
        last = self._conductor.jobs[-1][1]
        if self._resumed is not None:
            last.keep = self._resumed.keep
        self.prepare(last)
        self.begin()

    def take_failure(self, failure: StageFailure, at: float) -> None:
        """Take in that an item failed for good, in any stage."""
        super().emit(events.ItemFailed(at, failure))
        if self._most_failures is not None and len(self.failures) > self._most_failures:
            self.abort(failure.exception)

    def take_of_any(self, event: events.Event) -> None:
        """Take in what happened before the last stage, and is told of the whole."""
        super().emit(event)

    def nudge(self) -> None:
        """Something has happened: whoever runs stages in his own thread looks again."""
        self._conductor.nudge()

    def abort(self, error: BaseException) -> None:
        """End every stage."""
        assert self._job is not None
        self._cause = self._cause or error
        self._conductor.stop(self._job, error)

    def stream(self, watch: Watch | None = None, deadline: float | None = None) -> Iterator[Any]:
        __tracebackhide__ = True
        try:
            yield from super().stream(watch, deadline)
        finally:
            self._conductor.settle()

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
        if self._resumed is not None:
            self._resumed.close_journal()
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

        def act() -> None:
            job.state.consume(items)
            if self._resumed is not None:
                self.head.wake()  # there is room for known results

        if dispatcher.blocking:
            act()
        else:
            dispatcher.request(act)

    def _set_paused(self, *, paused: bool) -> None:
        for dispatcher, job in self._conductor.jobs:
            dispatcher.request(_setter(job, paused=paused))
        self._progress(events.RunPaused(time.monotonic(), paused))


def _setter(job: Job, *, paused: bool) -> Callable[[], None]:
    def act() -> None:
        job.state.paused = paused

    return act


def _lost_on_the_way(part: Part, failed: int) -> events.ItemsDone:
    return events.ItemsDone(
        time.monotonic(), "", -1, part.first, failed, failed, 0, 0.0, (), 0, 0, final=True, chunk_size=1
    )
