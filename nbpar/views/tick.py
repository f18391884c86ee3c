"""The card's data, ten times a second: a snapshot as small plain values.

A tick has numbers and strips; longer data that changes seldom (names, failures, output) is sent
separately, one of these at a time, so that no update is larger than 20 kB.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from nbpar.core import text as wording
from nbpar.core.lanes import Lane
from nbpar.core.outcome import OTHERS, Failure, key_of
from nbpar.core.snapshot import Snapshot, StageFigures
from nbpar.core.stages import bottleneck
from nbpar.host.devices.load import Gauge, described, reading_of, short_device
from nbpar.host.machine import machine
from nbpar.views.seats import DETAILED as ROWS_WITH_TEXT
from nbpar.views.strips import DENSE, Timeline

DETAILED = DENSE
"""Number of workers up to which a tick has the details of each."""

LONG = 6000
"""Maximal total characters of names, failures or output."""

MANY = 30
"""Maximal number of failures marked one by one in a picture without a line of text per worker."""

GROUPS = 10
"""Maximal number of groups of failures."""

TRACEBACK = 1500
"""Number of characters of the end of a traceback."""


def tick(snapshot: Snapshot, timeline: Timeline) -> dict[str, Any]:
    """Return the numbers and strips of the current state."""
    rows = [stage.place for stage in snapshot.stages] or [seat.place for seat in timeline.seats]
    return {
        "state": snapshot.state,
        "total": snapshot.total,
        "done": snapshot.done,
        "failed": snapshot.failed,
        "skipped": snapshot.skipped,
        "known": snapshot.known,
        "retried": snapshot.retried,
        "elapsed": round(snapshot.elapsed, 2),
        "paused": round(snapshot.paused, 1),
        "held": snapshot.low,
        "rate": float(f"{snapshot.rate:.3g}"),
        "left": None if snapshot.left is None else round(snapshot.left, 1),
        "chunk": snapshot.chunk_size,
        "moved": snapshot.moved,
        "busy": round(snapshot.busy, 2),
        "lost": snapshot.lost_workers,
        "alive": sum(lane.state in ("idle", "busy", "silent") for lane in snapshot.lanes),
        "hidden": timeline.hidden,
        "memory": _memory(snapshot.lanes),
        "length": timeline.length,
        "width": timeline.width,
        "lanes": _stage_lanes(snapshot.stages, timeline) if snapshot.stages else _lanes(timeline),
        "stages": _stages(snapshot.stages, timeline),
        "slow": _slowest(snapshot, timeline),
        **_failed(rows, timeline),
    }


def _failed(rows: Sequence[int], timeline: Timeline) -> dict[str, Any]:
    """Return the failures in the rows; the share of failed items if there are too many to mark."""
    places = {row: place for place, row in enumerate(rows)}
    many = len(rows) > DETAILED
    strips = {} if many else {row: strip for row in rows if (strip := timeline.failures(row))}
    together = timeline.failed.letters(timeline.width) if many and timeline.failed.pieces > MANY else ""
    return {
        "bad": [[places[row], strip] for row, strip in strips.items()],
        "together": together,
        "marks": [
            [places[mark.row], mark.kind[:2], round(mark.at, 2)]
            for mark in timeline.marks
            if mark.row in places and not (mark.kind == "failed" and (together or mark.row in strips))
        ],
    }


def _slowest(snapshot: Snapshot, timeline: Timeline) -> list[Any] | None:
    """Return the row with the longest-running items, and the items, if rows have no text."""
    busy = [
        (snapshot.elapsed - max(seat.lane.since, timeline.upto(seat.place)), place, seat.lane)
        for place, seat in enumerate(timeline.seats)
        if seat.lane.first >= 0
    ]
    if len(timeline.seats) <= ROWS_WITH_TEXT or not busy:
        return None
    seconds, place, lane = max(busy, key=itemgetter(0))
    return [place, lane.first, lane.count, round(seconds, 1)]


def names(snapshot: Snapshot, timeline: Timeline) -> list[list[Any]]:
    """Return the names of the lanes.

    Of workers: name, host, process, reason of its loss, predecessor, device; of stages: name, backend,
    workers, whether they are shared.
    """
    if snapshot.stages:
        return [[stage.name[:40], stage.backend, stage.workers, stage.shared] for stage in snapshot.stages]
    seats = timeline.seats
    if len(seats) <= DETAILED:
        return [
            [
                seat.lane.worker[:24],
                seat.lane.host[:40],
                seat.lane.pid,
                seat.lane.note[:60],
                timeline.before(seat)[:24],
                short_device(seat.lane.device),
            ]
            for seat in seats
        ]
    return [[seat.lane.worker[:12], "", seat.lane.pid, "", "", ""] for seat in seats]


def devices(timeline: Timeline, gauge: Gauge) -> list[str] | None:
    """Return how busy the device of each lane on this machine is, in words; None if none has any."""
    lanes = [seat.lane for seat in timeline.seats]
    here = [lane.device if lane.machine and lane.machine == machine() else "" for lane in lanes]
    if len(lanes) > DETAILED or not any(here):
        return None
    known = gauge.latest()
    return [device and described(short_device(device), reading_of(device, known)) for device in here]


def who(snapshot: Snapshot, timeline: Timeline) -> Any:
    """Return a value that changes with `names`, cheaply."""
    if snapshot.stages:
        return len(snapshot.stages), sum(stage.workers for stage in snapshot.stages)
    return snapshot.lost_workers, [seat.lane.worker for seat in timeline.seats]


def failures(snapshot: Snapshot, _: Timeline) -> list[dict[str, Any]]:
    """Return the first failures and the first of each group, in the order of their items, up to the limit."""
    first = {group.example.index: group.example for group in snapshot.failure_groups[:GROUPS]}
    rows: list[dict[str, Any]] = []
    room = LONG
    for failure in {**first, **{failure.index: failure for failure in snapshot.failures}}.values():
        row = _failure(failure, min(TRACEBACK, max(room - 500, 0)))
        room -= sum(len(value) for value in row.values() if isinstance(value, str)) + 160
        if room < 0:
            break
        rows.append(row)
    return sorted(rows, key=itemgetter("index"))


def which(snapshot: Snapshot, _: Timeline) -> Any:
    """Return a value that changes with `failures`, cheaply."""
    first = [group.example.index for group in snapshot.failure_groups[:GROUPS]]
    return first, [failure.index for failure in snapshot.failures]


def groups(snapshot: Snapshot, _: Timeline) -> list[list[Any]]:
    """Return the groups of failures, the most frequent first: type, line, stage, number; the rest as one."""
    known = snapshot.failure_groups
    rest = sum(group.number for group in known[GROUPS:])
    told = [[group.error[:60], group.line, group.stage[:40], group.number] for group in known[:GROUPS]]
    return [*told, [OTHERS, 0, "", rest]] if rest else told


def output(snapshot: Snapshot, _: Timeline) -> list[list[Any]]:
    """Return the latest output of items, up to the limit."""
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
    """Join the pieces of one printed line."""
    joined: list[tuple[int, str, str]] = []
    for index, stream, text in output:
        if joined and joined[-1][:2] == (index, stream):
            joined[-1] = (index, stream, joined[-1][2] + text)
        else:
            joined.append((index, stream, text))
    return joined


def _memory(lanes: Sequence[Lane]) -> int:
    """Return the memory of the workers in bytes; threads share one process, which counts once."""
    held = {lane.process: lane.memory for lane in lanes if lane.state in ("idle", "busy")}
    return sum(held.values())


def _lanes(timeline: Timeline) -> dict[str, Any]:
    lanes = [seat.lane for seat in timeline.seats]
    told: dict[str, Any] = {
        "state": "".join({"lost": "x", "left": "l"}.get(lane.state, lane.state[0]) for lane in lanes),
        "first": [lane.first for lane in lanes],
        "done": [seat.done for seat in timeline.seats],
        "strip": [timeline.letters(seat.place) for seat in timeline.seats],
    }
    if len(lanes) <= DETAILED:
        inner = [
            [place, lane.inner_item, [[*bar[:5], float(f"{bar.rate:.3g}")] for bar in lane.inner]]
            for place, lane in enumerate(lanes)
            if lane.inner
        ]
        if inner:
            told["inner"] = inner
        told["count"] = [lane.count for lane in lanes]
        told["since"] = [
            round(max(lane.since, timeline.upto(place)), 1) for place, lane, *_ in timeline.seats
        ]
        workers_of = Counter(lane.process for lane in lanes)
        told["memory"] = [round(lane.memory / 1e6) if workers_of[lane.process] == 1 else 0 for lane in lanes]
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


def _stages(stages: Sequence[StageFigures], timeline: Timeline) -> dict[str, Any] | None:
    """Return the data of a pipeline's stages; None for a map."""
    if not stages:
        return None
    limit = bottleneck(stages)
    return {
        "working": [round(timeline.working(stage.place), 1) for stage in stages],
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
        **dict(zip(("type", "line", "stage"), _kind(failure), strict=True)),
        "seconds": round(failure.seconds, 3),
        "traceback": wording.tail(failure.traceback, longest) if longest else "",
        "output": wording.tail(failure.output, min(longest, 500)) if longest else "",
    }


def _kind(failure: Failure) -> tuple[str, int, str]:
    error, line, stage = key_of(failure)
    return error[:60], line, stage[:40]
