"""How much of its workers each stage of a pipeline kept busy over time, as a picture that stays."""

from __future__ import annotations

from collections.abc import Sequence

from nbpar.core.progress import Snapshot
from nbpar.core.stages import StageFigures
from nbpar.views import wording
from nbpar.views.picture import NAMES, WIDTH, Picture, axis, failures, start_of, text

ROW, TALL = 24, 18
"""Pixels: of a stage's row, of its curve when all its workers are busy."""

STEP = 4
"""Pixels from one value of a curve to the next."""


def stages_timeline(snapshot: Snapshot) -> Picture | None:
    """Draw the stages' latest work; None when there was none.

    A curve is as high as the share of a stage's workers that were busy; a red mark is a failed item.
    """
    lanes = [lane for stage in snapshot.stages for lane in stage.snapshot.lanes if lane.spans]
    if not lanes or snapshot.elapsed <= 0:
        return None
    start, end = start_of(lanes, snapshot.elapsed), snapshot.elapsed
    rows = "".join(_row(stage, place, start, end) for place, stage in enumerate(snapshot.stages))
    height = ROW * len(snapshot.stages) + 16
    return Picture(rows + axis(start, end, height), height, _spoken(snapshot.stages))


def shares(stage: StageFigures, start: float, end: float, steps: int) -> list[float]:
    """Return the share of a stage's workers that were busy in each of so many steps, from 0 to 1."""
    step = (end - start) / steps
    busy = [0.0] * steps
    for lane in stage.snapshot.lanes:
        for span in lane.spans:
            _add(busy, max(span.start - start, 0.0) / step, (span.end - start) / step)
    return [min(seconds / max(stage.workers, 1), 1.0) for seconds in busy]


def _add(busy: list[float], left: float, right: float) -> None:
    """Add work, in steps."""
    for place in range(int(left), min(int(right) + 1, len(busy))):
        busy[place] += max(min(right, place + 1) - max(left, place), 0.0)


def _row(stage: StageFigures, place: int, start: float, end: float) -> str:
    floor = place * ROW + ROW - 4
    curve = shares(stage, start, end, (WIDTH - NAMES) // STEP)
    # a step that is as high as the one before it needs no word
    points = "".join(f"V{floor - TALL * share:.1f}h{STEP}" for share in curve)
    failed = [
        span.end for lane in stage.snapshot.lanes for span in lane.spans if span.failed and span.end >= start
    ]
    scale = (WIDTH - NAMES) / (end - start)
    return (
        text(0, floor - 4, stage.name[:14])
        + f'<path d="M{NAMES} {floor}{points}V{floor}z" style="fill:#4c8dbf"/>'
        + f'<path d="M{NAMES} {floor}H{WIDTH}" style="stroke:currentColor;stroke-opacity:.3"/>'
        + failures([NAMES + (at - start) * scale for at in failed], floor - TALL // 2)
    )


def _spoken(stages: Sequence[StageFigures]) -> str:
    """Return the picture in words, for who cannot see it."""
    said = [f"{stage.name}: busy for {wording.percent(stage.load)} of its time" for stage in stages[:8]]
    return "Work over time. " + "; ".join(said)
