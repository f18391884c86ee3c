"""How each stage of a pipeline does, and which of them holds the others up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


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

    working: int
    """How many work for it now."""

    waiting: int
    """Items in its queue."""

    room: int | None
    """Items that its queue holds at most; None when it goes by need."""

    done: int
    """Items that have an outcome, failures included."""

    failed: int
    retried: int
    rate: float
    """Items per second, lately; on the whole when it is over."""

    busy: float
    """Seconds in the function, all workers together."""

    elapsed: float
    """Seconds since the pipeline began, up to its end."""

    state: str
    """`waiting`, `running`, `paused`, `done`, `failed` or `stopped`."""

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


def bottleneck(stages: Sequence[StageFigures]) -> Bottleneck | None:
    """Return the stage with the longest time per item, spread over its workers; None before any outcome.

    Stages that share workers by need count together, for the stage of them that needs most.
    """
    paces = [_pace(stage, stages, extra=0) for stage in stages if stage.done]
    if not paces or not max(paces):
        return None
    counted = [stage for stage in stages if stage.done]
    slowest = max(counted, key=lambda stage: (_pace(stage, stages, extra=0), stage.seconds_per_item))
    after = max(_pace(stage, stages, extra=_more(stage, slowest)) for stage in counted)
    before = max(paces)
    return Bottleneck(slowest, before, before / after if after else 1.0)


def _pace(stage: StageFigures, stages: Sequence[StageFigures], *, extra: int) -> float:
    """Seconds per item of a stage when all its workers are busy."""
    together = [stage]
    if stage.shared:
        together = [other for other in stages if other.shared and other.backend == stage.backend]
    return sum(one.seconds_per_item for one in together) / (max(stage.workers, 1) + extra)


def _more(stage: StageFigures, helped: StageFigures) -> int:
    same = stage is helped or (stage.shared and helped.shared and stage.backend == helped.backend)
    return 1 if same else 0
