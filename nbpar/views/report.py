"""The report of a run: where its time went, slow items, advice; as text and static HTML."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from typing import Any

from nbpar.core import text as wording
from nbpar.core.analysis import Figures, Finding, findings
from nbpar.core.measures.profile import Profile
from nbpar.core.snapshot import Snapshot
from nbpar.core.tables import Rows, html_table, isolated
from nbpar.host.machine import machine
from nbpar.views import summary
from nbpar.views.picture import Picture, timeline
from nbpar.views.profile import ProfileReport

SLOW = 1e-3
"""Seconds below which an item is never listed as slow."""


@dataclass(frozen=True, slots=True)
class SlowItem:
    """A slow item."""

    index: int
    item: Any
    """The item itself; None if unknown."""

    shown: str
    """Its shortened text; "" if unknown."""

    seconds: float

    stage: str = ""
    """In a pipeline, the stage in which the item took long; the value is this stage's input."""

    @property
    def named(self) -> str:
        """Its text, with its stage."""
        return f"{self.stage}: {self.shown}" if self.stage else self.shown


def slow_items(snapshot: Snapshot, stage: str = "") -> list[SlowItem]:
    """Return the slowest items of a map, or of a pipeline's `stage`, except short ones."""
    rows = []
    for (seconds, index), known in zip(snapshot.slowest, snapshot.slow_items, strict=True):
        if seconds >= SLOW:
            item, shown = (known[0], wording.shown(known[0])) if len(known) else (None, "")
            rows.append(SlowItem(index, item, shown, seconds, stage))
    return rows


PACKAGES = 3
"""Number of imported packages that are named."""

HOSTS = 8
"""Maximal number of hosts that are named."""

_CELL = "padding:.1em 1.2em .1em 0"


class Report:
    """A run's report; displayed in notebooks and terminals.

    Attributes:
        figures: where the time went.
        snapshot: all figures.
        profile: the functions and lines in which the items have spent their time; None unless the map had
            `profile=True`.
    """

    def __init__(self, snapshot: Snapshot, figures: Figures, profile: Profile | None = None) -> None:
        self.snapshot = snapshot
        self.figures = figures
        self.profile = None if profile is None else ProfileReport(profile)

    @property
    def elapsed(self) -> float:
        """Duration in seconds, so far."""
        return self.figures.elapsed

    @property
    def efficiency(self) -> float:
        """Share of the workers' time spent in the function, from 0 to 1."""
        return self.figures.efficiency

    @cached_property
    def advice(self) -> list[Finding]:
        """Possible improvements, each with the figure behind it; empty if nothing stands out."""
        return findings(self.figures)

    @cached_property
    def slowest(self) -> list[SlowItem]:
        """The slowest items, slowest first; none if all are short."""
        return slow_items(self.snapshot)

    @property
    def parts(self) -> list[tuple[str, float]]:
        """Where the workers' time went: names and worker-seconds, which add up to workers times elapsed."""
        figures = self.figures
        imports = [("importing", figures.importing)] if figures.importing >= 0.001 else []
        return [
            ("computing", figures.computing),
            *imports,
            ("pickling", figures.packing),
            ("transfer", figures.transfer),
            ("waiting", figures.waiting),
            ("starting", figures.starting),
        ]

    def __repr__(self) -> str:
        lines = [self._title(), *self._where(), *self._more_lines()]
        if self.advice:
            lines += ["", "advice", *(f"  - {finding}" for finding in self.advice)]
        lines += ["", "where the time went"]
        table = self._table()
        width = max(15, *(len(name) for name, _, _ in table))
        lines += [f"  {name:<{width}}{time:>10}{share:>7}".rstrip() for name, time, share in table]
        if self.slowest:
            lines += ["", "slowest items"]
            lines += [
                f"  {row.index:>8}{wording.seconds(row.seconds):>10}  {row.named}" for row in self.slowest
            ]
        if self.profile is not None:
            lines += ["", repr(self.profile)]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        parts = [
            f'<div role="heading" aria-level="3">{isolated(self._title())}</div>',
            *(f"<div>{isolated(line)}</div>" for line in self._where()),
            *self._more_html(),
        ]
        if self.advice:
            said = "".join(f"<li>{finding_html(finding)}</li>" for finding in self.advice)
            parts.append(f"<ul>{said}</ul>")
        parts.append(table_of(("where the time went", "time", "share"), self._table(), right=(1, 2)))
        if (picture := self._picture()) is not None:
            parts.append(picture.html)
        if self.slowest:
            rows = [(f"{row.index}", row.named, wording.seconds(row.seconds)) for row in self.slowest]
            parts.append(table_of(("slowest item", "value", "time"), rows, right=(0, 2), own=(1,)))
        if self.profile is not None:
            parts.append(self.profile._repr_html_())
        return f'<div class="nbpar-run-report">{"".join(parts)}</div>'

    def _picture(self) -> Picture | None:
        return timeline(self.snapshot)

    def _where(self) -> list[str]:
        """Return a line that names the workers' hosts, unless all are this machine."""
        if not any(lane.machine and lane.machine != machine() for lane in self.snapshot.lanes):
            return []
        workers = Counter((lane.host or "an unknown host", lane.machine) for lane in self.snapshot.lanes)
        shown = [f"{host} ({wording.plural(number, 'worker')})" for (host, _), number in workers.items()]
        more = [f"{wording.plural(len(shown) - HOSTS, 'more host')}"] if len(shown) > HOSTS else []
        return [f"on {', '.join([*shown[:HOSTS], *more])}"]

    def _more_lines(self) -> list[str]:
        """Return the lines after the title of this kind of report."""
        return []

    def _more_html(self) -> list[str]:
        """Return these lines as HTML."""
        return []

    def _title(self) -> str:
        """Return the run's label and figures; its outcome is in the summary line below its cell."""
        snapshot, figures = self.snapshot, self.figures
        items = snapshot.done if snapshot.total is None else snapshot.total
        return (
            f"{summary.header_text(snapshot.label, items)}{summary.outcome_text(snapshot)}: "
            f"{wording.seconds(figures.elapsed)} on {wording.plural(figures.workers, 'worker')}, "
            f"{wording.percent(figures.efficiency)} of worker time spent computing"
        )

    def _importing(self) -> str:
        """Return the name of the time of imports, with the packages, slowest first."""
        names = [row.name for row in self.snapshot.imports]
        more = [f"{len(names) - PACKAGES} more"] if len(names) > PACKAGES else []
        return f"importing {', '.join([*names[:PACKAGES], *more])}".strip()

    def _table(self) -> list[tuple[str, str, str]]:
        total = self.figures.total
        rows = [
            (
                self._importing() if name == "importing" else name,
                wording.seconds(time),
                wording.percent(time / total if total else 0.0),
            )
            for name, time in self.parts
        ]
        extra = [("pickling here", self.figures.packing_here), ("reading input", self.figures.reading)]
        return rows + [(name, wording.seconds(time), "") for name, time in extra if time >= 0.001]


def finding_html(finding: Finding) -> str:
    """Return a finding as HTML; text between backticks is code."""
    text = f"{escape(finding.because)}: <strong>{escape(finding.advice)}</strong>"
    return re.sub("`([^`]+)`", r"<code>\1</code>", text)


def table_of(
    heads: Sequence[str], rows: Rows, *, right: Collection[int] = (), own: Collection[int] = ()
) -> str:
    """Return a table in the style of reports."""
    return html_table(heads, rows, cell=_CELL, right=right, own=own)
