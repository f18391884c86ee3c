"""One snapshot of a whole pipeline, made out of those of its stages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from nbpar.core.progress import SLOWEST, Snapshot
from nbpar.core.stages import StageFigures


def whole(
    seen: Snapshot, label: str, stages: Sequence[StageFigures], pools: Sequence[Snapshot], failed: int
) -> Snapshot:
    """Return the snapshot of a pipeline.

    Args:
        seen: what was counted at its end: items that have passed all stages, failures, output.
        label: what it is called.
        stages: its stages, in the order in which items pass them.
        pools: what was counted on each pool's workers, for all stages there.
        failed: items that have failed, also those whose place at the end has not come yet.
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
        note=next((one.note for one in snapshots if one.note), ""),
        lost_workers=sum(pool.lost_workers for pool in pools),
        workers=sum(pool.workers for pool in pools),
        lanes=tuple(lane for pool in pools for lane in pool.lanes),
        slowest=tuple(slowest for slowest, _ in slow),
        slow_items=tuple(item for _, item in slow),
        stages=tuple(stages),
    )


def _state(seen: Snapshot, stages: Sequence[Snapshot]) -> str:
    if seen.over or seen.state == "paused":
        return seen.state
    return "waiting" if all(stage.state == "waiting" for stage in stages) else "running"
