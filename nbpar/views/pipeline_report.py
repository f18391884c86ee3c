"""The report of a pipeline: which stage limits, how each of them did, and all that a run's report says."""

from __future__ import annotations

from functools import cached_property

from nbpar.core.analysis import Finding
from nbpar.core.columns import text_table
from nbpar.core.limits import limit_of
from nbpar.core.stages import Bottleneck, StageFigures, bottleneck
from nbpar.views import wording
from nbpar.views.picture import Picture
from nbpar.views.run_report import Report, finding_html, table_of
from nbpar.views.slow_items import SlowItem, slow_items
from nbpar.views.stage_picture import stages_timeline

HEADS = ("stage", "workers", "items", "an item", "busy")


class PipelineReport(Report):
    """A pipeline's report; shows itself in a notebook and in a terminal.

    Attributes:
        figures: where the time went, all stages together.
        snapshot: all that was counted, also of each stage.
    """

    @property
    def stages(self) -> tuple[StageFigures, ...]:
        """How each stage did, in the order in which items passed them."""
        return self.snapshot.stages

    @cached_property
    def bottleneck(self) -> Bottleneck | None:
        """The stage that limits; None before any outcome."""
        return bottleneck(self.stages)

    @cached_property
    def limit(self) -> Finding | None:
        """What limits, with the figures that say so, and what one more worker there would bring."""
        return limit_of(self.snapshot, self.figures)

    @cached_property
    def advice(self) -> list[Finding]:
        """What could be better besides, each with the figure that says so; empty when nothing stands out."""
        return [finding for finding in super().advice if finding.kind not in ("chunks", "input")]

    @cached_property
    def slowest(self) -> list[SlowItem]:
        """The slowest items of all stages, slowest first; none where all of them are short."""
        rows = [row for stage in self.stages for row in slow_items(stage.snapshot, stage.name)]
        return sorted(rows, key=lambda row: -row.seconds)[: len(self.snapshot.slowest)]

    def _picture(self) -> Picture | None:
        return stages_timeline(self.snapshot)

    def _more_lines(self) -> list[str]:
        table = text_table([HEADS, *(_row(stage) for stage in self.stages)], words=2)
        said = [] if self.limit is None else ["", str(self.limit)]
        return [*said, "", *(f"  {line}" for line in table)]

    def _more_html(self) -> list[str]:
        table = table_of(HEADS, [_row(stage) for stage in self.stages])
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
