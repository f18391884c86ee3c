"""What the card is told ten times a second: a snapshot as small plain data.

A tick has numbers and strips; what is longer and changes seldom (names, failures, output) is told
apart, one of these at a time, so that no update is larger than 20 kB.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from nbpar.core.lanes import Lane
from nbpar.core.outcome import Failure
from nbpar.core.progress import Snapshot
from nbpar.core.stages import StageFigures, bottleneck
from nbpar.views import wording
from nbpar.views.report import by_index
from nbpar.views.timeline import Row, Timeline

LANES = 256
"""Workers that a card shows; those that are gone make room first."""

DETAILED = 64
"""Workers up to which a tick tells everything of each."""

LONG = 6000
"""Characters that names, failures or output may have together."""

TRACEBACK = 1500
"""Characters of a traceback, its end."""


def lanes_shown(lanes: Sequence[Lane]) -> list[Lane]:
    """Return the lanes that have a place on the card, `engine 2` before `engine 10`."""
    lanes = sorted(lanes, key=lambda lane: _natural(lane.worker))
    surplus = len(lanes) - LANES
    if surplus <= 0:
        return lanes
    gone = [lane for lane in lanes if lane.state in ("lost", "left")][:surplus]
    dropped = {lane.worker for lane in gone}
    return [lane for lane in lanes if lane.worker not in dropped][:LANES]


def tick(snapshot: Snapshot, timeline: Timeline) -> dict[str, Any]:
    """Return the numbers and strips of this moment."""
    lanes = lanes_shown(snapshot.lanes)
    rows: list[Row] = [stage.place for stage in snapshot.stages]
    rows = rows or [lane.worker for lane in lanes]
    places = {row: place for place, row in enumerate(rows)}
    return {
        "state": snapshot.state,
        "total": snapshot.total,
        "done": snapshot.done,
        "failed": snapshot.failed,
        "retried": snapshot.retried,
        "elapsed": round(snapshot.elapsed, 2),
        "rate": float(f"{snapshot.rate:.3g}"),
        "left": None if snapshot.left is None else round(snapshot.left, 1),
        "chunk": snapshot.chunk_size,
        "moved": snapshot.moved,
        "busy": round(snapshot.busy, 2),
        "lost": snapshot.lost_workers,
        "alive": sum(lane.state in ("idle", "busy") for lane in snapshot.lanes),
        "memory": _memory(snapshot.lanes),
        "length": timeline.length,
        "width": timeline.width,
        "lanes": _stage_lanes(snapshot.stages, timeline) if snapshot.stages else _lanes(lanes, timeline),
        "stages": _stages(snapshot.stages),
        "marks": [
            [places[mark.row], mark.kind[:2], round(mark.at, 2)]
            for mark in timeline.marks
            if mark.row in places
        ],
    }


def names(snapshot: Snapshot) -> list[list[Any]]:
    """Return who the lanes are.

    Of workers: name, host, process, why it was lost; of stages: name, backend, workers, whether they
    are shared.
    """
    if snapshot.stages:
        return [[stage.name[:40], stage.backend, stage.workers, stage.shared] for stage in snapshot.stages]
    lanes = lanes_shown(snapshot.lanes)
    if len(lanes) <= DETAILED:
        return [[lane.worker[:24], lane.host[:40], lane.pid, lane.note[:60]] for lane in lanes]
    return [[lane.worker[:12], "", lane.pid, ""] for lane in lanes]


def failures(snapshot: Snapshot) -> list[dict[str, Any]]:
    """Return the first failures, in the order of their items, as far as they fit."""
    rows: list[dict[str, Any]] = []
    room = LONG
    for failure in by_index(snapshot.failures):
        row = _failure(failure, min(TRACEBACK, max(room - 400, 0)))
        room -= sum(len(value) for value in row.values() if isinstance(value, str)) + 120
        if room < 0:
            break
        rows.append(row)
    return rows


def output(snapshot: Snapshot) -> list[list[Any]]:
    """Return what items printed last, as far as it fits."""
    rows: list[list[Any]] = []
    room = LONG // 2
    for index, stream, text in reversed(_joined(snapshot.output)):
        shown = wording.tail(text, 500)
        room -= len(shown) + 30
        if room < 0:
            break
        rows.append([index, stream, shown])
    rows.reverse()
    return rows


def _joined(output: Sequence[tuple[int, str, str]]) -> list[tuple[int, str, str]]:
    """Join the pieces that `print` makes of one line."""
    joined: list[tuple[int, str, str]] = []
    for index, stream, text in output:
        if joined and joined[-1][:2] == (index, stream):
            joined[-1] = (index, stream, joined[-1][2] + text)
        else:
            joined.append((index, stream, text))
    return joined


def _memory(lanes: Sequence[Lane]) -> int:
    """Return the bytes that workers hold; threads are workers of one process, which counts once."""
    held = {_process(lane): lane.memory for lane in lanes if lane.state in ("idle", "busy")}
    return sum(held.values())


def _process(lane: Lane) -> tuple[str, int | str]:
    return lane.host, lane.pid or lane.worker


@lru_cache(maxsize=4096)
def _natural(name: str) -> tuple[tuple[str, int], ...]:
    """Return a key that orders names by the numbers in them."""
    return tuple((text, int(number or 0)) for text, number in re.findall(r"(\D*)(\d{0,9})", name))


def _lanes(lanes: Sequence[Lane], timeline: Timeline) -> dict[str, Any]:
    told: dict[str, Any] = {
        "state": "".join({"lost": "x", "left": "l"}.get(lane.state, lane.state[0]) for lane in lanes),
        "first": [lane.first for lane in lanes],
        "done": [lane.done for lane in lanes],
        "strip": [timeline.letters(lane.worker) for lane in lanes],
    }
    if len(lanes) <= DETAILED:
        told["count"] = [lane.count for lane in lanes]
        told["since"] = [round(max(lane.since, timeline.upto(lane.worker)), 1) for lane in lanes]
        workers_of = Counter(map(_process, lanes))
        told["memory"] = [
            round(lane.memory / 1e6) if workers_of[_process(lane)] == 1 else 0 for lane in lanes
        ]
        told["moved"] = [lane.moved for lane in lanes]
    return told


def _stage_lanes(stages: Sequence[StageFigures], timeline: Timeline) -> dict[str, Any]:
    since = [
        min((lane.since for lane in stage.snapshot.lanes if lane.first >= 0), default=0.0) for stage in stages
    ]
    return {
        "state": "".join("b" if stage.working else "i" for stage in stages),
        "first": [-1] * len(stages),
        "done": [stage.done for stage in stages],
        "strip": [timeline.letters(stage.place) for stage in stages],
        "since": [
            round(max(at, timeline.upto(stage.place)), 1) for at, stage in zip(since, stages, strict=True)
        ],
    }


def _stages(stages: Sequence[StageFigures]) -> dict[str, Any] | None:
    """Return what there is to say of a pipeline's stages; None for a map."""
    if not stages:
        return None
    limit = bottleneck(stages)
    return {
        "working": [stage.working for stage in stages],
        "waiting": [stage.waiting for stage in stages],
        "room": [stage.room for stage in stages],
        "failed": [stage.failed for stage in stages],
        "rate": [float(f"{stage.rate:.3g}") for stage in stages],
        "each": [float(f"{stage.seconds_per_item:.3g}") for stage in stages],
        "limit": None if limit is None else limit.stage.place,
        "gain": 1.0 if limit is None else round(limit.gain, 2),
        "load": 0.0 if limit is None else round(limit.load, 2),
    }


def _failure(failure: Failure, longest: int) -> dict[str, Any]:
    return {
        "index": failure.index,
        "item": wording.shown(failure.item),
        "error": wording.error(failure.exception),
        "worker": failure.worker[:24],
        "where": failure.where,
        "attempts": failure.attempts,
        "seconds": round(failure.seconds, 3),
        "traceback": wording.tail(failure.traceback, longest) if longest else "",
        "output": wording.tail(failure.output, min(longest, 500)) if longest else "",
    }
