"""The run of a pipeline, with figures for each stage."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from nbpar.core import events
from nbpar.core.outcome import Part
from nbpar.core.snapshot import Snapshot, StageFigures
from nbpar.core.stages import Bottleneck, StageFailure, bottleneck, whole
from nbpar.dispatch.job import Job
from nbpar.host.error_log import call_safely
from nbpar.journal.resuming import room
from nbpar.pipeline.conductor import Conductor
from nbpar.pipeline.links import Head
from nbpar.pipeline.stage_progress import PoolProgress, SharedProgress, StageFacts, StageListener
from nbpar.run.report import report_of
from nbpar.run.run import Run, Watch

if TYPE_CHECKING:
    from nbpar.pipeline.resuming import ResumedItems
    from nbpar.views.report import Report


class PipelineRun(Run):
    """A pipeline in progress: a `Run` with figures for each stage."""

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
        self._progress = SharedProgress(frugal=streaming)
        self._details = None  # an item's work is in several stages
        self._frugal = streaming
        self._resumed: ResumedItems | None = None
        self._conductor = conductor
        self._most_failures = 0 if errors == "raise" and not streaming else max_errors
        self._bad = 0
        """Number of items that have failed in any stage, without those that were skipped."""

        self._cause: BaseException | None = None
        """The first error in any stage that ended the run."""

        self._ears: list[StageListener] = []
        self._pools: dict[str, PoolProgress] = {}
        """Progress of the workers of each pool over all its stages, by backend."""

    @property
    def stages(self) -> tuple[StageFigures, ...]:
        """Figures of each stage, in the order in which items pass them."""
        now = time.monotonic()
        return tuple(ear.figures(now) for ear in self._ears)

    @property
    def bottleneck(self) -> Bottleneck | None:
        """The stage that limits the pipeline; None before any outcome."""
        return bottleneck(self.stages)

    @property
    def snapshot(self) -> Snapshot:
        """Current figures of the whole pipeline; `snapshot.stages` has those of each stage."""
        seen, now = super().snapshot, time.monotonic()
        pools = [pool.snapshot(now) for pool in list(self._pools.values())]
        return whole(seen, self.label, self.stages, pools, len(self.failures))

    def wait(self, timeout: float | None = None, watch: Watch | None = None) -> None:
        conductor = self._conductor
        try:
            super().wait(timeout, watch)
        finally:
            del self  # see `Run.wait`
        conductor.settle()

    # ---- for the wiring

    def listen(self, facts: StageFacts) -> StageListener:
        """Return the event handler of one stage."""
        pool = self._pools.setdefault(facts.backend, PoolProgress(frugal=True))
        self._ears.append(StageListener(self, facts, pool, frugal=self._frugal))
        return self._ears[-1]

    def resume_with(self, items: ResumedItems) -> None:
        """Store results in the journal whose known items are left out of the input."""
        self._resumed = items

    def room_from(self, following: int) -> int:
        """The consumer's room for known results from an index on."""
        return room(self._conductor.jobs[-1][1].state, following)

    def prepare_all(self) -> None:
        """Set the jobs of this run: those of the stages."""
        last = self._conductor.jobs[-1][1]
        if self._resumed is not None:
            last.keep = self._resumed.keep
        self.prepare(last)

    def take_failure(self, failure: StageFailure, at: float) -> None:
        """Handle the final failure of an item, in any stage."""
        super().emit(events.ItemFailed(at, failure))
        self._bad += not failure.skipped
        if self._most_failures is not None and self._bad > self._most_failures:
            self.abort(failure.exception)

    def take_of_any(self, event: events.Event) -> None:
        """Handle an event of any stage but the last that concerns the whole pipeline."""
        super().emit(event)

    def nudge(self) -> None:
        """Wake the thread that runs stages, if there is one."""
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
            del self  # the error's traceback holds this frame, and the run the error

    # ---- sink of the last stage

    def deliver(self, parts: list[Part]) -> None:
        last = self._ears[-1]
        for part in parts:
            lost = [failure for failure in part.failures.values() if failure.index not in last.own]
            if lost:  # it failed in an earlier stage, without an event here
                self._progress(_lost_on_the_way(part, len(lost)))
        super().deliver([last.named(part) for part in parts])
        self._conductor.nudge()

    def finish(self, error: BaseException | None) -> None:
        error = self._cause or error
        try:
            self._end_stages(error)
        finally:
            super().finish(error)
            self._conductor.nudge()

    def _end_stages(self, error: BaseException | None) -> None:
        if error is not None:
            self.abort(error)
        for ear in self._ears:
            ear.end(error)
        for pool in self._pools.values():
            pool.end()
        if self._resumed is not None:
            self._resumed.close_journal()
            self._resumed = None

    def emit(self, event: events.Event) -> None:
        self._ears[-1].event(event)
        if type(event) not in (events.ItemFailed, events.ItemPrinted, events.StacksSampled):
            super().emit(event)

    # ---- internals

    def _call_off(self, error: BaseException) -> None:
        for _, job in self._conductor.jobs[:-1]:
            call_safely(job.state.source.close, f"the input of {job.label} could not be closed")
            job.release()
        super()._call_off(error)

    def _reporter(self) -> Callable[[], Report]:
        profile = None if self.profile is None else self.profile.profile()
        return partial(report_of, self.snapshot, chunksize=None, reading=self.head.reading, profile=profile)

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
