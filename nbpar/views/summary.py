"""The lasting summary of a run: a line of text, and a line of HTML without scripts.

Notebook tests compare both.  The text is the same for equal runs: no
times, hosts, process ids or memory addresses.  The HTML also has times, in an element of their own,
which `nbpar.testing.nbval_plugin` excludes from the comparison.  `timings` has them as plain data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

from nbpar.core import text as wording
from nbpar.core.outcome import Failure
from nbpar.core.snapshot import Snapshot
from nbpar.core.stages import StageFailure, bottleneck
from nbpar.core.tables import html_table, isolated

IN_LINE = 3
"""Maximal number of failures named in the line."""

SIGNS = {"done": "✓", "failed": "✕", "stopped": "▪", "paused": "‖", "running": "▸", "waiting": "▸"}
"""A character per state; the text beside it says the same."""

ALL = "nbpar.last_run.failures"
"""The expression for all failures."""

TIMES = "nbpar-times"
"""Class of the element that differs between equal runs."""

ALIKE = 5
"""Number of failures above which they are grouped by type and line."""

WAYS = 10
"""Maximal number of groups of failures that are named."""

Own = Callable[[str], str]
"""Formats foreign text: unchanged, or as HTML."""

_NOTE = "color:var(--jp-ui-font-color2,inherit)"
_TABLE = "margin:.3em 0 .3em 1.2em"


def header_text(label: str, total: int | None) -> str:
    """Return the text about a run before it starts."""
    name = label or "map"
    return name if total is None else f"{name} over {wording.plural(total, 'item')}"


def header_html(label: str, total: int | None) -> str:
    """Return the same text as HTML."""
    return f'<div class="nbpar-header" style="{_NOTE}">{escape(header_text(label, total))}</div>'


def summary_text(snapshot: Snapshot) -> str:
    """Return the outcome or current state of a run, in one line.

    For a run that an item's failure ended it has only that failure: the progress of others
    differs from run to run.
    """
    if _ended_by_item(snapshot):
        return f"failed at {_name(_bad(snapshot)[0], str)}"
    return ", ".join(filter(None, [_counts(snapshot), _remarks(snapshot, str)]))


def outcome_text(snapshot: Snapshot) -> str:
    """Return problems in short form: ` (stopped, 3 failed)`; "" if there were none."""
    parts = [] if snapshot.state == "done" else [snapshot.state]
    if snapshot.bad:
        parts.append(f"{wording.count(snapshot.bad)} failed")
    if snapshot.skipped:
        parts.append(f"{wording.count(snapshot.skipped)} skipped")
    return f" ({', '.join(parts)})" if parts else ""


def lasting_text(label: str, snapshot: Snapshot) -> str:
    """Return the summary line of a run, with its label."""
    return f"{label or 'map'}: {summary_text(snapshot)}"


def ended_text(label: str, snapshot: Snapshot, gain: float | None = None) -> str:
    """Return a run's outcome, for terminals and logs: `count: 60 of 60 done, 5.2 s on 2 workers, 1.9x`."""
    outcome = summary_text(snapshot) if _ended_by_item(snapshot) else _counts(snapshot)
    parts = [outcome, *speed(snapshot, gain), _remarks(snapshot, str)]
    return f"{label or 'map'}: {', '.join(part for part in parts if part)}"


def spoken_line(label: str, snapshot: Snapshot, gain: float | None = None) -> str:
    """Return the summary line as plain text, with its times."""
    times = " · ".join(speed(snapshot, gain))
    return f"{_sign(snapshot)} {lasting_text(label, snapshot)} · {times}"


def lasting_html(label: str, snapshot: Snapshot, gain: float | None = None) -> str:
    """Return the same as HTML, with its times and, if there are failures, a table that opens.

    Args:
        label: the run's label.
        snapshot: how it ended, or how it is now.
        gain: its speed-up over one worker; None if unknown.
    """
    line = (
        f'<span style="{_NOTE}">{isolated(label or "map")}</span> '
        f'<span aria-hidden="true">{_sign(snapshot)}</span> {_outcome(snapshot)}'
        f'<span class="{TIMES}" title="{_rate(snapshot)}"> · {" · ".join(speed(snapshot, gain))}</span>'
    )
    if remarks := _remarks(snapshot, isolated):
        line += f" · {remarks}"
    if len(snapshot.failures) < 2 or _ended_by_item(snapshot):
        return f'<div class="nbpar-report">{line}</div>'
    return f'<details class="nbpar-report"><summary>{line}</summary>{_failures(snapshot)}</details>'


def _failures(snapshot: Snapshot) -> str:
    """Return the failures as HTML: groups, the first ones, and the number of the others."""
    staged = bool(snapshot.stages)
    names = ("item", "stage", "value", "error") if staged else ("item", "value", "error")
    rows = [_row(failure) for failure in by_index(snapshot.failures)]
    table = html_table(names, rows, table=_TABLE, right=(0,), own=range(1, len(names)))
    more = snapshot.failed - len(rows)
    rest = (
        f'<div style="{_TABLE}">… and {wording.count(more)} more: <code>{ALL}</code></div>'
        if more > 0
        else ""
    )
    return f"{_kinds(snapshot)}{table}{rest}"


def _kinds(snapshot: Snapshot) -> str:
    """Return the groups of many failures, as HTML; "" if all are different."""
    groups = snapshot.failure_groups
    if snapshot.bad <= ALIKE or all(group.number == 1 for group in groups):
        return ""
    every = "every item failed: " if snapshot.bad == snapshot.done - snapshot.known else ""
    kinds = [escape(wording.one_line(str(group))) for group in groups[:WAYS]]
    others = len(groups) - len(kinds)
    said = ", ".join([*kinds, f"and {wording.plural(others, 'other kind')}"] if others else kinds)
    return f'<div style="{_TABLE}">{every}{said}</div>'


def speed(snapshot: Snapshot, gain: float | None = None) -> list[str]:
    """Return duration, workers and speed-up of a run: `5.2 s on 2 workers`, `1.9x`."""
    on = f" on {wording.plural(snapshot.workers, 'worker')}" if snapshot.workers else ""
    gained = [] if gain is None or snapshot.state == "failed" else [f"{gain:.1f}x"]
    return [f"{wording.seconds(snapshot.elapsed)}{on}", *gained]


def timings(snapshot: Snapshot, gain: float | None = None) -> dict[str, object]:
    """Return the figures that differ between runs, as plain data; `gain` is the speed-up over one worker."""
    limit = bottleneck(snapshot.stages)
    stages = [
        {"name": stage.name, "done": stage.done, "busy_seconds": round(stage.busy, 3)}
        for stage in snapshot.stages
    ]
    return {
        "state": snapshot.state,
        "done": snapshot.done,
        "failed": snapshot.bad,
        "skipped": snapshot.skipped,
        "seconds": round(snapshot.elapsed, 3),
        "items_per_second": round(snapshot.rate, 1),
        "workers": len(snapshot.lanes),
        "speed_up": None if gain is None else round(gain, 2),
        "busy_seconds": round(snapshot.busy, 3),
        "bytes_moved": snapshot.moved,
        **({"stages": stages, "bottleneck": limit and limit.stage.name} if stages else {}),
    }


def by_index(failures: Sequence[Failure]) -> list[Failure]:
    """Return failures in the order of their items."""
    return sorted(failures, key=lambda failure: failure.index)


def _ended_by_item(snapshot: Snapshot) -> bool:
    return snapshot.state == "failed" and bool(_bad(snapshot))


def _bad(snapshot: Snapshot) -> list[Failure]:
    """Return the first failures of items that failed by themselves, in the order of the items."""
    return [failure for failure in by_index(snapshot.failures) if not failure.skipped]


def _counts(snapshot: Snapshot) -> str:
    done = snapshot.done - snapshot.failed
    text = f"{wording.count(done)} done"
    if snapshot.total is not None:
        text = f"{wording.count(done)} of {wording.count(snapshot.total)} done"
    return _with_state(snapshot, text)


def _outcome(snapshot: Snapshot) -> str:
    """Return the number of items done, or the failure that ended it: `60 items`, `stopped: 5 of 60 items`."""
    if _ended_by_item(snapshot):
        return f"failed at {_name(_bad(snapshot)[0], isolated)}"
    done = snapshot.done - snapshot.failed
    text = wording.plural(done, "item")
    if snapshot.total not in (None, done):
        text = f"{wording.count(done)} of {wording.plural(snapshot.total or 0, 'item')}"
    return _with_state(snapshot, text)


def _with_state(snapshot: Snapshot, counted: str) -> str:
    if len(snapshot.stages) > 1:
        counted += f" in {len(snapshot.stages)} stages"
    return counted if snapshot.state == "done" else f"{snapshot.state}: {counted}"


def _remarks(snapshot: Snapshot, own: Own) -> str:
    """Return the problems: `1 worker lost, 2 failed: item 3 (3): ..., 1 skipped: item 5 (5)`."""
    if _ended_by_item(snapshot):
        return ""
    parts = []
    if snapshot.retried:
        parts.append(f"{wording.count(snapshot.retried)} retried")
    if snapshot.lost_workers:
        parts.append(f"{wording.plural(snapshot.lost_workers, 'worker')} lost")
    if snapshot.bad:
        named = _named(_bad(snapshot), snapshot.bad, own)
        parts.append(f"{wording.count(snapshot.bad)} failed{named}")
    if snapshot.skipped:
        let_go = [failure for failure in by_index(snapshot.failures) if failure.skipped]
        named = _named(let_go, snapshot.skipped, own)
        parts.append(f"{wording.count(snapshot.skipped)} skipped{named}")
    return ", ".join(parts)


def _rate(snapshot: Snapshot) -> str:
    rate = snapshot.rate
    return f"{rate:.3g} items a second" if rate < 1000 else f"{wording.count(round(rate))} items a second"


def _sign(snapshot: Snapshot) -> str:
    if snapshot.state == "done" and snapshot.bad:
        return "⚠\ufe0e"  # as text, not as a colored picture
    return SIGNS.get(snapshot.state, "▸")


def _named(failures: Sequence[Failure], number: int, own: Own) -> str:
    """Return the first ones of a number of failures: `: item 3 (3): ...; and 5 more`."""
    if not failures:
        return ""
    named = [_name(failure, own) for failure in failures[:IN_LINE]]
    more = number - len(named)
    return ": " + "; ".join([*named, f"and {wording.count(more)} more"] if more > 0 else named)


def _name(failure: Failure, own: Own) -> str:
    stage = f" in {own(_stage(failure))}" if isinstance(failure, StageFailure) else ""
    item, error = own(wording.shown(failure.item)), own(wording.error(failure.exception))
    name = f"item {failure.index} ({item}){stage}"
    return name if failure.skipped else f"{name}: {error}"


def _stage(failure: StageFailure) -> str:
    return wording.one_line(failure.stage, 40)


def _row(failure: Failure) -> list[str]:
    cells = [str(failure.index), wording.shown(failure.item), wording.error(failure.exception)]
    if isinstance(failure, StageFailure):
        cells.insert(1, _stage(failure))
    return cells
