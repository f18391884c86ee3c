"""One snapshot of a whole pipeline, made out of those of its stages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from nbpar.core.lanes import SPANS, Lane
from nbpar.core.progress import SLOWEST, Snapshot
from nbpar.core.stages import StageFigures


def whole(seen: Snapshot, label: str, stages: Sequence[StageFigures], failed: int) -> Snapshot:
    """Return the snapshot of a pipeline.

    Args:
        seen: what was counted at its end: items that have passed all stages, failures, output.
        label: what it is called.
        stages: its stages, in the order in which items pass them.
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
        lost_workers=_per_pool(stages, [one.lost_workers for one in snapshots]),
        workers=_per_pool(stages, [one.workers for one in snapshots]),
        lanes=_workers(stages, seen.elapsed),
        slowest=tuple(slowest for slowest, _ in slow),
        slow_items=tuple(item for _, item in slow),
        stages=tuple(stages),
    )


def _state(seen: Snapshot, stages: Sequence[Snapshot]) -> str:
    if seen.over or seen.state == "paused":
        return seen.state
    return "waiting" if all(stage.state == "waiting" for stage in stages) else "running"


def _per_pool(stages: Sequence[StageFigures], counted: Sequence[int]) -> int:
    """Add up what the stages of one pool have counted alike."""
    most: dict[str, int] = {}
    for stage, number in zip(stages, counted, strict=True):
        most[stage.backend] = max(most.get(stage.backend, 0), number)
    return sum(most.values())


def _workers(stages: Sequence[StageFigures], now: float) -> tuple[Lane, ...]:
    """Return the workers, each with what it did for all stages."""
    by_worker: dict[tuple[str, str], list[Lane]] = {}
    for stage in stages:
        for lane in stage.snapshot.lanes:
            by_worker.setdefault((stage.backend, lane.worker), []).append(lane)
    return tuple(_joined(lanes, now) for lanes in by_worker.values())


def _joined(lanes: Sequence[Lane], now: float) -> Lane:
    """Return one worker's lane; `occupied` at most its time, because it may have calls of two stages."""
    busy = [lane for lane in lanes if lane.state == "busy"]
    lane = max(busy or lanes, key=lambda lane: (lane.since, lane.memory))
    here = (now if lane.gone is None else lane.gone) - lane.joined
    return replace(
        lane,
        done=sum(one.done for one in lanes),
        busy=sum(one.busy for one in lanes),
        memory=max(one.memory for one in lanes),
        moved=sum(one.moved for one in lanes),
        spans=tuple(sorted(span for one in lanes for span in one.spans)[-SPANS:]),
        occupied=min(sum(one.occupied for one in lanes), here),
        cpu=sum(one.cpu for one in lanes),
        cpu_of_thread=sum(one.cpu_of_thread for one in lanes),
        packing=sum(one.packing for one in lanes),
        chunks=sum(one.chunks for one in lanes),
    )
