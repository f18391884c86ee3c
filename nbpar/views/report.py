"""What stays of a run: one line of text, and the same as HTML without scripts.

Both say nothing that differs between two runs that went alike: no times, hosts, process ids
or memory addresses, because notebook tests compare them.  Times are in `timings`, which goes
into an output's metadata.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from nbpar.core.columns import html_table
from nbpar.core.outcome import Failure
from nbpar.core.progress import Snapshot
from nbpar.core.stages import StageFailure, bottleneck
from nbpar.views import wording

IN_LINE = 3
"""Failures that the line names."""

SIGNS = {"done": "✓", "failed": "✕", "stopped": "▪", "paused": "‖", "running": "▸", "waiting": "▸"}
"""A character per state; the words beside it say the same."""

_NOTE = "color:var(--jp-ui-font-color2,inherit)"
_TABLE = "margin:.3em 0 .3em 1.2em"
_CELL = "text-align:left"


def header_text(label: str, total: int | None) -> str:
    """Return what is known of a run before it begins."""
    name = label or "map"
    return name if total is None else f"{name} over {wording.plural(total, 'item')}"


def header_html(label: str, total: int | None) -> str:
    """Return the same as HTML."""
    return f'<div class="nbpar-header" style="{_NOTE}">{escape(header_text(label, total))}</div>'


def summary_text(snapshot: Snapshot) -> str:
    """Return how a run ended, or how it is now, in one line.

    Of a run that an item's failure ended it says nothing but that failure: how far others had
    come by then differs from run to run.
    """
    if _ended_by_item(snapshot):
        return f"failed at {_name(by_index(snapshot.failures)[0])}"
    parts = [_counts(snapshot)]
    if snapshot.retried:
        parts.append(f"{wording.count(snapshot.retried)} retried")
    if snapshot.lost_workers:
        parts.append(f"{wording.plural(snapshot.lost_workers, 'worker')} lost")
    if snapshot.failed:
        parts.append(f"{wording.count(snapshot.failed)} failed")
    line = ", ".join(parts)
    return f"{line}: {_named(snapshot)}" if snapshot.failures else line


def summary_html(snapshot: Snapshot) -> str:
    """Return the same as HTML, with a table of failures that opens where there is one to show."""
    line = f'<span aria-hidden="true">{_sign(snapshot)}</span> {escape(summary_text(snapshot))}'
    if len(snapshot.failures) < 2 or _ended_by_item(snapshot):
        return f'<div class="nbpar-report">{line}</div>'
    names = ("item", "stage", "value", "error") if snapshot.stages else ("item", "value", "error")
    rows = [_row(failure) for failure in by_index(snapshot.failures)]
    table = html_table(names, rows, table=_TABLE, cell=_CELL)
    return f'<details class="nbpar-report"><summary>{line}</summary>{table}</details>'


def timings(snapshot: Snapshot) -> dict[str, object]:
    """Return what differs between runs, as plain data."""
    limit = bottleneck(snapshot.stages)
    stages = [
        {"name": stage.name, "done": stage.done, "busy_seconds": round(stage.busy, 3)}
        for stage in snapshot.stages
    ]
    return {
        "state": snapshot.state,
        "done": snapshot.done,
        "failed": snapshot.failed,
        "seconds": round(snapshot.elapsed, 3),
        "items_per_second": round(snapshot.rate, 1),
        "workers": len(snapshot.lanes),
        "busy_seconds": round(snapshot.busy, 3),
        "bytes_moved": snapshot.moved,
        **({"stages": stages, "bottleneck": limit and limit.stage.name} if stages else {}),
    }


def by_index(failures: Sequence[Failure]) -> list[Failure]:
    """Return failures in the order of their items, whatever the order they came in."""
    return sorted(failures, key=lambda failure: failure.index)


def _ended_by_item(snapshot: Snapshot) -> bool:
    return snapshot.state == "failed" and bool(snapshot.failures)


def _counts(snapshot: Snapshot) -> str:
    done = snapshot.done - snapshot.failed
    text = f"{wording.count(done)} done"
    if snapshot.total is not None:
        text = f"{wording.count(done)} of {wording.count(snapshot.total)} done"
    if len(snapshot.stages) > 1:
        text += f" in {len(snapshot.stages)} stages"
    return text if snapshot.state == "done" else f"{snapshot.state}: {text}"


def _sign(snapshot: Snapshot) -> str:
    if snapshot.state == "done" and snapshot.failed:
        return "⚠\ufe0e"  # as text, not as a coloured picture
    return SIGNS.get(snapshot.state, "▸")


def _named(snapshot: Snapshot) -> str:
    named = [_name(failure) for failure in by_index(snapshot.failures)[:IN_LINE]]
    more = snapshot.failed - len(named)
    return "; ".join([*named, f"and {wording.count(more)} more"] if more > 0 else named)


def _name(failure: Failure) -> str:
    stage = f" in {_stage(failure)}" if isinstance(failure, StageFailure) else ""
    return f"item {failure.index} ({wording.shown(failure.item)}){stage}: {wording.error(failure.exception)}"


def _stage(failure: StageFailure) -> str:
    return wording.one_line(failure.stage, 40)


def _row(failure: Failure) -> list[str]:
    cells = [str(failure.index), wording.shown(failure.item), wording.error(failure.exception)]
    if isinstance(failure, StageFailure):
        cells.insert(1, _stage(failure))
    return cells
