"""Where the time of a run went, what took longest, what could be better: as text and as static HTML."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from html import escape

from nbpar.core.analysis import Figures, Finding, findings
from nbpar.core.columns import Rows, html_table
from nbpar.core.progress import Snapshot
from nbpar.views import report, wording
from nbpar.views.picture import Picture, timeline
from nbpar.views.slow_items import SlowItem, slow_items

_CELL = "text-align:left;padding:.1em 1.2em .1em 0"


class Report:
    """A run's report; shows itself in a notebook and in a terminal.

    Attributes:
        figures: where the time went.
        snapshot: all that was counted.
    """

    def __init__(self, snapshot: Snapshot, figures: Figures) -> None:
        self.snapshot = snapshot
        self.figures = figures

    @property
    def elapsed(self) -> float:
        """Seconds from beginning to end, or until now."""
        return self.figures.elapsed

    @property
    def efficiency(self) -> float:
        """Share of the workers' time that was spent in the function, from 0 to 1."""
        return self.figures.efficiency

    @cached_property
    def advice(self) -> list[Finding]:
        """What could be better, each with the figure that says so; empty when nothing stands out."""
        return findings(self.figures)

    @cached_property
    def slowest(self) -> list[SlowItem]:
        """The slowest items, slowest first; none where all of them are short."""
        return slow_items(self.snapshot)

    @property
    def parts(self) -> list[tuple[str, float]]:
        """Where the workers' time went: names and seconds, which add up to workers times elapsed."""
        figures = self.figures
        return [
            ("computing", figures.computing),
            ("pickling", figures.packing),
            ("transfer", figures.transfer),
            ("waiting", figures.waiting),
            ("starting", figures.starting),
        ]

    def __repr__(self) -> str:
        lines = [self._title(), *self._more_lines(), ""]
        lines += [f"  {name:<10}{time:>10}{share:>7}" for name, time, share in self._table()]
        if self.slowest:
            lines += ["", "slowest items"]
            lines += [
                f"  {row.index:>8}{wording.seconds(row.seconds):>10}  {row.named}" for row in self.slowest
            ]
        if self.advice:
            lines += ["", "advice", *(f"  - {finding}" for finding in self.advice)]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        parts = [
            f"<div>{escape(self._title())}</div>",
            *self._more_html(),
            table_of(("where time went", "", ""), self._table()),
        ]
        if (picture := self._picture()) is not None:
            parts.append(picture.html)
        if self.slowest:
            rows = [(f"{row.index}", row.named, wording.seconds(row.seconds)) for row in self.slowest]
            parts.append(table_of(("slowest item", "value", "time"), rows))
        if self.advice:
            said = "".join(f"<li>{finding_html(finding)}</li>" for finding in self.advice)
            parts.append(f"<ul>{said}</ul>")
        return f'<div class="nbpar-run-report">{"".join(parts)}</div>'

    def _picture(self) -> Picture | None:
        return timeline(self.snapshot)

    def _more_lines(self) -> list[str]:
        """Return what a kind of report says after its title."""
        return []

    def _more_html(self) -> list[str]:
        """Return the same as HTML."""
        return []

    def _title(self) -> str:
        snapshot, figures = self.snapshot, self.figures
        return (
            f"{report.header_text(snapshot.label, snapshot.total)}: {report.summary_text(snapshot)}; "
            f"{wording.seconds(figures.elapsed)} on {wording.plural(figures.workers, 'worker')}, "
            f"{wording.percent(figures.efficiency)} of it computing"
        )

    def _table(self) -> list[tuple[str, str, str]]:
        total = self.figures.total
        rows = [
            (name, wording.seconds(time), wording.percent(time / total if total else 0.0))
            for name, time in self.parts
        ]
        extra = [("pickling here", self.figures.packing_here), ("reading input", self.figures.reading)]
        return rows + [(name, wording.seconds(time), "") for name, time in extra if time >= 0.001]


def finding_html(finding: Finding) -> str:
    """Return a finding as HTML; what stands between backticks is code."""
    text = f"{escape(finding.because)}: <strong>{escape(finding.advice)}</strong>"
    return re.sub("`([^`]+)`", r"<code>\1</code>", text)


def table_of(heads: Sequence[str], rows: Rows) -> str:
    """Return a table as reports have it."""
    return html_table(heads, rows, cell=_CELL)
