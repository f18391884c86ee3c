"""The report of a pipeline: its bottleneck, its stages, and the contents of a run's report."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from nbpar.core import text as wording
from nbpar.core.analysis import Finding, limit_of
from nbpar.core.snapshot import Snapshot, StageFigures
from nbpar.core.stages import Bottleneck, bottleneck
from nbpar.core.tables import text_table
from nbpar.views.picture import NAMES, WIDTH, Picture, axis, failures, start_of, text
from nbpar.views.report import Report, SlowItem, finding_html, slow_items, table_of

ROW, TALL = 24, 18
"""Pixels: height of a stage's row, height of its curve at full load."""

STEP = 4
"""Pixels from one value of a curve to the next."""


def stages_timeline(snapshot: Snapshot) -> Picture | None:
    """Draw the stages' latest work; None if there was none.

    The height of a curve is the share of a stage's workers that were busy; a red mark is a failed item.
    """
    lanes = [lane for stage in snapshot.stages for lane in stage.snapshot.lanes if lane.spans]
    if not lanes or snapshot.elapsed <= 0:
        return None
    start, end = start_of(lanes, snapshot.elapsed), snapshot.elapsed
    rows = "".join(_strip_row(stage, place, start, end) for place, stage in enumerate(snapshot.stages))
    height = ROW * len(snapshot.stages) + 16
    return Picture(rows + axis(start, end, height), height, _spoken(snapshot.stages))


def shares(stage: StageFigures, start: float, end: float, steps: int) -> list[float]:
    """Return the share of a stage's workers that were busy in each of a number of steps, from 0 to 1."""
    step = (end - start) / steps
    busy = [0.0] * steps
    for lane in stage.snapshot.lanes:
        for span in lane.spans:
            _add(busy, max(span.start - start, 0.0) / step, (span.end - start) / step)
    return [min(seconds / max(stage.workers, 1), 1.0) for seconds in busy]


def _add(busy: list[float], left: float, right: float) -> None:
    """Add work to the steps."""
    for place in range(int(left), min(int(right) + 1, len(busy))):
        busy[place] += max(min(right, place + 1) - max(left, place), 0.0)


def _strip_row(stage: StageFigures, place: int, start: float, end: float) -> str:
    floor = place * ROW + ROW - 4
    curve = shares(stage, start, end, (WIDTH - NAMES) // STEP)
    # a step as high as the one before it is omitted
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
    """Return the alternative text of the picture."""
    said = [f"{stage.name}: busy for {wording.percent(stage.load)} of its time" for stage in stages[:8]]
    return "Work over time. " + "; ".join(said)


HEADS = ("stage", "workers", "items", "an item", "busy")


class PipelineReport(Report):
    """A pipeline's report; displayed in notebooks and terminals.

    Attributes:
        figures: where the time went, over all stages.
        snapshot: all figures, also of each stage.
    """

    @property
    def stages(self) -> tuple[StageFigures, ...]:
        """Figures of each stage, in the order in which items passed them."""
        return self.snapshot.stages

    @cached_property
    def bottleneck(self) -> Bottleneck | None:
        """The stage that limits; None before any outcome."""
        return bottleneck(self.stages)

    @cached_property
    def limit(self) -> Finding | None:
        """The limiting stage, with its figures, and the gain of one more worker there."""
        return limit_of(self.snapshot, self.figures)

    @cached_property
    def advice(self) -> list[Finding]:
        """Other possible improvements, each with the figure behind it; empty if nothing stands out."""
        return [finding for finding in super().advice if finding.kind not in ("chunks", "input")]

    @cached_property
    def slowest(self) -> list[SlowItem]:
        """The slowest items of all stages, slowest first; none if all are short."""
        rows = [row for stage in self.stages for row in slow_items(stage.snapshot, stage.name)]
        return sorted(rows, key=lambda row: -row.seconds)[: len(self.snapshot.slowest)]

    def _picture(self) -> Picture | None:
        return stages_timeline(self.snapshot)

    def _more_lines(self) -> list[str]:
        table = text_table([HEADS, *(_row(stage) for stage in self.stages)], words=2)
        said = [] if self.limit is None else ["", str(self.limit)]
        return [*said, "", *(f"  {line}" for line in table)]

    def _more_html(self) -> list[str]:
        table = table_of(HEADS, [_row(stage) for stage in self.stages], right=(2, 3, 4), own=(0,))
        if self.limit is None:
            return [table]
        return [f"<div>{finding_html(self.limit)}</div>", table]


def _row(stage: StageFigures) -> tuple[str, ...]:
    workers = (
        "this thread" if stage.backend == "serial" else wording.plural(stage.workers, stage.backend[:-1])
    )
    done = wording.count(stage.done) + (f", {wording.count(stage.failed)} failed" if stage.failed else "")
    each = wording.seconds(stage.seconds_per_item)
    return (
        stage.name,
        f"{workers}, shared" if stage.shared else workers,
        done,
        each,
        wording.percent(stage.load),
    )
