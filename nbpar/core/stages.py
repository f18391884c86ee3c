"""Per-stage figures of a pipeline: the bottleneck, failures, and one snapshot of the whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from nbpar.core.outcome import Failure
from nbpar.core.progress import SLOWEST
from nbpar.core.snapshot import PackageImports, Snapshot, StageFigures


@dataclass(frozen=True, repr=False)
class StageFailure(Failure):
    """A failure with its stage in the pipeline."""

    stage: str = ""
    """Name of the stage."""

    place: int = 0
    """Position of the stage in the pipeline, from 0."""

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
class Bottleneck:
    """The stage that limits a pipeline."""

    stage: StageFigures
    seconds: float
    """Minimal time per item with its workers."""

    gain: float
    """Speed-up of the pipeline with one more worker there."""

    load: float
    """Share of its workers' time spent in functions; if low, something else limits."""


def bottleneck(stages: Sequence[StageFigures]) -> Bottleneck | None:
    """Return the stage with the longest time per item and worker; None before any outcome.

    Stages that share workers count together, for the one that needs most.
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
    """Return the stages that share workers with a given one, itself included."""
    if not stage.shared:
        return [stage]
    return [other for other in stages if other.shared and other.backend == stage.backend]


def whole(
    seen: Snapshot, label: str, stages: Sequence[StageFigures], pools: Sequence[Snapshot], failed: int
) -> Snapshot:
    """Return the snapshot of a pipeline.

    Args:
        seen: figures at its end: items that have passed all stages, failures, output.
        label: its label.
        stages: its stages, in the order in which items pass them.
        pools: figures of each pool's workers, for all stages there.
        failed: failed items, also those not yet delivered in order.
    """
    snapshots = [stage.snapshot for stage in stages]
    slow = [row for one in snapshots for row in zip(one.slowest, one.slow_items, strict=True)]
    slow = sorted(slow, key=lambda row: row[0], reverse=True)[:SLOWEST]
    return replace(
        seen,
        label=label,
        state=_state(seen, snapshots),
        done=seen.done + max(failed - seen.failed, 0),
        failed=max(failed, seen.failed),
        retried=sum(one.retried for one in snapshots),
        chunk_size=1,
        moved=sum(one.moved for one in snapshots),
        busy=sum(one.busy for one in snapshots),
        packing=sum(one.packing for one in snapshots),
        waited=min(one.waited for one in snapshots),
        held=max(one.held for one in snapshots),
        limited=(most := max(snapshots, key=lambda one: one.limited)).limited,
        rate_limit=most.rate_limit,
        note=next((one.note for one in snapshots if one.note), ""),
        lost_workers=sum(pool.lost_workers for pool in pools),
        workers=sum(pool.workers for pool in pools),
        lanes=tuple(lane for pool in pools for lane in pool.lanes),
        slowest=tuple(slowest for slowest, _ in slow),
        slow_items=tuple(item for _, item in slow),
        stages=tuple(stages),
        imports=_imports(pools),
    )


def _imports(pools: Sequence[Snapshot]) -> tuple[PackageImports, ...]:
    found: dict[str, PackageImports] = {}
    for row in (row for pool in pools for row in pool.imports):
        other = found.get(row.name, PackageImports(row.name, 0.0, 0))
        found[row.name] = PackageImports(row.name, row.seconds + other.seconds, row.workers + other.workers)
    return tuple(sorted(found.values(), key=lambda row: row.seconds, reverse=True))


def _state(seen: Snapshot, stages: Sequence[Snapshot]) -> str:
    if seen.over or seen.state == "paused":
        return seen.state
    return "waiting" if all(stage.state == "waiting" for stage in stages) else "running"
