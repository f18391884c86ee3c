"""How each stage of a pipeline does, which of them holds the others up, and what failed in which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nbpar.core.outcome import Failure

if TYPE_CHECKING:
    from nbpar.core.progress import Snapshot


@dataclass(frozen=True, repr=False)
class StageFailure(Failure):
    """A failure that knows where in the pipeline it happened."""

    stage: str = ""
    """Name of the stage."""

    place: int = 0
    """Place of the stage in the pipeline, from 0."""

    batch: int | None = None
    """Number of the batch, from 0; None when batches have no fixed size."""

    batch_size: int | None = None

    @property
    def where(self) -> str:
        where = f"in stage {self.place + 1}, {self.stage!r}"
        if self.batch is None or self.batch_size is None:
            return where
        first = self.batch * self.batch_size
        return f"{where}, batch {self.batch} (items {first} to {first + self.batch_size - 1})"


@dataclass(frozen=True, slots=True)
class StageFigures:
    """One stage at one moment."""

    name: str
    place: int
    """Place in the pipeline, from 0."""

    backend: str
    """`engines`, `threads` or `serial`."""

    workers: int
    """How many it may have."""

    shared: bool
    """Whether other stages use the same workers as they need them."""

    waiting: int
    """Items in its queue."""

    room: int | None
    """Items that its queue holds at most; None when it goes by need."""

    snapshot: Snapshot
    """All that was counted of it alone."""

    @property
    def working(self) -> int:
        """How many workers work for it now."""
        return sum(lane.state == "busy" for lane in self.snapshot.lanes)

    @property
    def done(self) -> int:
        """Items that have an outcome, failures included."""
        return self.snapshot.done

    @property
    def failed(self) -> int:
        """Items that failed for good."""
        return self.snapshot.failed

    @property
    def retried(self) -> int:
        """How often an item was tried again."""
        return self.snapshot.retried

    @property
    def rate(self) -> float:
        """Items per second, lately; on the whole when it is over."""
        return self.snapshot.rate

    @property
    def busy(self) -> float:
        """Seconds in the function, all workers together."""
        return self.snapshot.busy

    @property
    def elapsed(self) -> float:
        """Seconds since the pipeline began, up to its end."""
        return self.snapshot.elapsed

    @property
    def state(self) -> str:
        """`waiting`, `running`, `paused`, `done`, `failed` or `stopped`."""
        return self.snapshot.state

    @property
    def seconds_per_item(self) -> float:
        """Mean time in the function; 0 before the first outcome."""
        return self.busy / self.done if self.done else 0.0

    @property
    def load(self) -> float:
        """Share of its workers' time that was spent in the function."""
        return self.busy / (self.elapsed * self.workers) if self.elapsed and self.workers else 0.0


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """The stage that limits a pipeline."""

    stage: StageFigures
    seconds: float
    """Time per item that it cannot go below with its workers."""

    gain: float
    """How many times faster the pipeline could be with one more worker there."""

    load: float
    """Share of the time of the workers there that was spent in functions; when low, something else limits."""


def bottleneck(stages: Sequence[StageFigures]) -> Bottleneck | None:
    """Return the stage with the longest time per item, spread over its workers; None before any outcome.

    Stages that share workers by need count together, for the stage of them that needs most.
    """
    counted = [stage for stage in stages if stage.done]
    before = max((_pace(stage, stages, extra=0) for stage in counted), default=0.0)
    if not before:
        return None
    slowest = max(counted, key=lambda stage: (_pace(stage, stages, extra=0), stage.seconds_per_item))
    helped = _together(slowest, stages)
    after = max(_pace(stage, stages, extra=int(stage in helped)) for stage in counted)
    return Bottleneck(slowest, before, before / after, sum(stage.load for stage in helped))


def _pace(stage: StageFigures, stages: Sequence[StageFigures], *, extra: int) -> float:
    """Seconds per item of a stage when all its workers are busy."""
    together = sum(one.seconds_per_item for one in _together(stage, stages))
    return together / (max(stage.workers, 1) + extra)


def _together(stage: StageFigures, stages: Sequence[StageFigures]) -> list[StageFigures]:
    """Return the stages that share workers with one, itself included."""
    if not stage.shared:
        return [stage]
    return [other for other in stages if other.shared and other.backend == stage.backend]
