"""What each worker did over time, as a picture that stays: SVG without scripts or assets."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

from nbpar.core.lanes import Lane, Span
from nbpar.core.progress import Snapshot
from nbpar.views import wording
from nbpar.views.tick import lanes_shown

LANES = 32
"""Workers that a picture shows, at most."""

WIDTH, NAMES, ROW, BAR = 640, 90, 16, 10
"""Pixels: of the picture, of the names at its left, of a worker's row, of the bar in it."""

INK = "#777"
"""Of whatever is not coloured."""

_TEXT = "font:11px sans-serif;fill:currentColor"


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawing, and what it shows."""

    drawing: str
    """Elements of SVG."""

    height: int
    """Pixels."""

    words: str
    """What it shows, for who cannot see it."""

    @property
    def svg(self) -> str:
        """The picture as a file would have it."""
        box = f'width="{WIDTH}" height="{self.height}" viewBox="0 0 {WIDTH} {self.height}"'
        return f'<svg xmlns="http://www.w3.org/2000/svg" {box} color="{INK}">{self.drawing}</svg>'

    @property
    def html(self) -> str:
        """The picture in a page.

        It is an image, because front ends take `<svg>` out of a notebook that nobody trusts.  So
        it cannot have the page's colours: its grey is readable on white and on black.
        """
        data = b64encode(self.svg.encode()).decode()
        style = f"max-width:{WIDTH}px;width:100%;display:block"
        return f'<img alt="{escape(self.words)}" src="data:image/svg+xml;base64,{data}" style="{style}"/>'


def timeline(snapshot: Snapshot) -> Picture | None:
    """Draw the workers' latest work; None when there was none.

    Bars are work, a red mark is a failed item, a line through the rest of a row a worker that is gone.
    """
    lanes = [lane for lane in lanes_shown(snapshot.lanes) if lane.spans]
    if not lanes or snapshot.elapsed <= 0:
        return None
    shown = lanes[:LANES]
    start = start_of(shown, snapshot.elapsed)
    rows = "".join(_row(lane, place, start, snapshot.elapsed) for place, lane in enumerate(shown))
    height = ROW * (len(shown) + 1)
    more = len(lanes) - len(shown)
    return Picture(rows + axis(start, snapshot.elapsed, height, more), height, _spoken(shown, more))


def start_of(lanes: Sequence[Lane], end: float) -> float:
    """Return where the picture begins: at the beginning, or where the oldest work is that is still known."""
    forgotten = [lane for lane in lanes if sum(span.items for span in lane.spans) < lane.done]
    return max((lane.spans[0].start for lane in forgotten if lane.spans[0].start < end), default=0.0)


def _row(lane: Lane, place: int, start: float, end: float) -> str:
    middle = place * ROW + ROW // 2
    scale = (WIDTH - NAMES) / (end - start)
    spans = [span for span in lane.spans if span.end >= start]
    pieces = "".join(
        f"M{NAMES + left:.0f} {middle}h{max(right - left, 1):.0f}"
        for left, right in _joined(spans, start, scale)
    )
    failed = [NAMES + (span.end - start) * scale for span in spans if span.failed]
    gone = ""
    if lane.gone is not None and lane.gone < end:
        x = NAMES + max(lane.gone - start, 0.0) * scale
        gone = f'<path d="M{x:.0f} {middle}H{WIDTH}" style="stroke:currentColor;stroke-dasharray:2 3"/>'
    return (
        text(0, middle + 4, lane.worker[:14])
        + f'<path d="{pieces}" style="stroke:#4c8dbf;stroke-width:{BAR}"/>{gone}'
        + failures(failed, middle)
    )


def _joined(spans: Sequence[Span], start: float, scale: float) -> Iterator[tuple[float, float]]:
    """Yield pieces in pixels, those that are less than one apart as one."""
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
    """Return the line of times below the rows, and how many rows are missing."""
    rest = f"and {wording.plural(more, 'more worker')}" if more else ""
    left = NAMES if not more else 2 * NAMES
    return (
        text(0, height - 4, rest)
        + text(left, height - 4, wording.seconds(start))
        + text(WIDTH, height - 4, wording.seconds(end), anchor="end")
    )


def failures(places: Iterable[float], middle: int) -> str:
    """Return a mark for each failed item, as the live card has it."""
    marks = "".join(f"M{x - 4} {middle - 4}h8l-4 8z" for x in sorted({round(x) for x in places}))
    return f'<path d="{marks}" style="fill:#cf222e;stroke:#fff"/>' if marks else ""


def text(x: int, y: int, words: str, anchor: str = "start") -> str:
    """Return words at a place."""
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" style="{_TEXT}">{escape(words)}</text>'


def _spoken(lanes: Sequence[Lane], more: int) -> str:
    """Return the picture in words, for who cannot see it."""
    said = [
        f"{lane.worker}: {wording.plural(lane.done, 'item')}, {wording.seconds(lane.busy)}"
        for lane in lanes[:8]
    ]
    rest = len(lanes) - len(said) + more
    return "Work over time. " + "; ".join([*said, f"and {rest} more"] if rest else said)
