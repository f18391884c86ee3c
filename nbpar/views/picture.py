"""The timeline of a run as a static picture: SVG without scripts or assets."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from operator import attrgetter

from nbpar.core import text as wording
from nbpar.core.lanes import Lane, Span
from nbpar.core.snapshot import Snapshot
from nbpar.views.seats import Seats, shown

LANES = 32
"""Maximal number of workers in a picture."""

WIDTH, NAMES, ROW, BAR = 640, 90, 16, 10
"""Pixels: width of the picture, width of the names, height of a worker's row, height of its bar."""

INK = "#777"
"""Color of all uncolored parts."""

_TEXT = "font:11px sans-serif;fill:currentColor"


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawing, with a description."""

    drawing: str
    """SVG elements."""

    height: int
    """Height in pixels."""

    words: str
    """The alternative text."""

    @property
    def svg(self) -> str:
        """The picture as the content of a file."""
        box = f'width="{WIDTH}" height="{self.height}" viewBox="0 0 {WIDTH} {self.height}"'
        return f'<svg xmlns="http://www.w3.org/2000/svg" {box} color="{INK}">{self.drawing}</svg>'

    @property
    def html(self) -> str:
        """The picture in a page.

        It is an image, because front ends remove `<svg>` from untrusted notebooks.  So
        it cannot have the page's colors: its gray is readable on white and on black.
        """
        data = b64encode(self.svg.encode()).decode()
        style = f"max-width:{WIDTH}px;width:100%;display:block"
        return f'<img alt="{escape(self.words)}" src="data:image/svg+xml;base64,{data}" style="{style}"/>'


def timeline(snapshot: Snapshot) -> Picture | None:
    """Draw the workers' latest work; None if there was none.

    Bars are work, a red mark is a failed item, a line through the rest of a row a dead worker.
    A replacement has the row of its predecessor.
    """
    rows = [row for row in _rows(snapshot.lanes) if any(lane.spans for lane in row)]
    if not rows or snapshot.elapsed <= 0:
        return None
    kept = rows[:LANES]
    start = start_of([lane for row in kept for lane in row if lane.spans], snapshot.elapsed)
    drawn = "".join(_row(row, place, start, snapshot.elapsed) for place, row in enumerate(kept))
    height = ROW * (len(kept) + 1)
    more = len(rows) - len(kept)
    return Picture(drawn + axis(start, snapshot.elapsed, height, more), height, _spoken(kept, more))


def _rows(lanes: Sequence[Lane]) -> list[list[Lane]]:
    """Return the workers of each row, in order of time."""
    seats = Seats()
    rows: dict[int, list[Lane]] = {seat.place: [] for seat in shown(seats.take(lanes))}
    for lane in sorted(lanes, key=attrgetter("joined")):
        if (place := seats[lane.worker]) in rows:
            rows[place].append(lane)
    return list(rows.values())


def start_of(lanes: Sequence[Lane], end: float) -> float:
    """Return the start of the picture: the start of the run, or of the oldest recorded work."""
    forgotten = [lane for lane in lanes if sum(span.items for span in lane.spans) < lane.done]
    return max((lane.spans[0].start for lane in forgotten if lane.spans[0].start < end), default=0.0)


def _row(lanes: Sequence[Lane], place: int, start: float, end: float) -> str:
    middle = place * ROW + ROW // 2
    scale = (WIDTH - NAMES) / (end - start)
    spans = sorted(span for lane in lanes for span in lane.spans if span.end >= start)
    pieces = "".join(
        f"M{NAMES + left:.0f} {middle}h{max(right - left, 1):.0f}"
        for left, right in _joined(spans, start, scale)
    )
    failed = [NAMES + (span.end - start) * scale for span in spans if span.failed]
    last, gone = lanes[-1], ""
    if last.gone is not None and last.gone < end:
        x = NAMES + max(last.gone - start, 0.0) * scale
        gone = f'<path d="M{x:.0f} {middle}H{WIDTH}" style="stroke:currentColor;stroke-dasharray:2 3"/>'
    return (
        text(0, middle + 4, last.worker[:14])
        + f'<path d="{pieces}" style="stroke:#4c8dbf;stroke-width:{BAR}"/>{gone}'
        + failures(failed, middle)
    )


def _joined(spans: Sequence[Span], start: float, scale: float) -> Iterator[tuple[float, float]]:
    """Yield pieces in pixels, merging those less than one apart."""
    left, right = 0.0, -2.0
    for span in spans:
        begin, end = max(span.start - start, 0.0) * scale, (span.end - start) * scale
        if begin - right < 1:
            right = max(right, end)
            continue
        if right >= 0:
            yield left, right
        left, right = begin, end
    if right >= 0:
        yield left, right


def axis(start: float, end: float, height: int, more: int = 0) -> str:
    """Return the time axis below the rows, and the number of omitted rows."""
    rest = f"and {wording.plural(more, 'more worker')}" if more else ""
    left = NAMES if not more else 2 * NAMES
    return (
        text(0, height - 4, rest)
        + text(left, height - 4, wording.seconds(start))
        + text(WIDTH, height - 4, wording.seconds(end), anchor="end")
    )


def failures(places: Iterable[float], middle: int) -> str:
    """Return a mark for each failed item, as in the live card."""
    marks = "".join(f"M{x - 4} {middle - 4}h8l-4 8z" for x in sorted({round(x) for x in places}))
    return f'<path d="{marks}" style="fill:#cf222e;stroke:#fff"/>' if marks else ""


def text(x: int, y: int, words: str, anchor: str = "start") -> str:
    """Return text at a position."""
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" style="{_TEXT}">{escape(words)}</text>'


def _spoken(rows: Sequence[Sequence[Lane]], more: int) -> str:
    """Return the alternative text of the picture."""
    said = [
        f"{lanes[-1].worker}: {wording.plural(sum(lane.done for lane in lanes), 'item')}, "
        f"{wording.seconds(sum(lane.busy for lane in lanes))}"
        for lanes in rows[:8]
    ]
    rest = len(rows) - len(said) + more
    return "Work over time. " + "; ".join([*said, f"and {rest} more"] if rest else said)
