"""Draw measurements: times as bars, and a run as lanes of workers.

They are small SVG pictures with a text of the same content, for the tutorials and for inspecting
your own runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nbpar.core.lanes import Lane
    from nbpar.core.snapshot import Snapshot

WIDTH = 640
LABEL = 130
"""Width of the names, at the left."""

VALUE = 170
"""Width of the figures, at the right."""

LINE = 26
"""Height of a bar plus spacing."""

INK = "#767676"
"""For text: readable on white and on black."""

GRAY, BLUE, ORANGE = "#9a9a9a", "#4c86b8", "#d9822b"
SHADES = (BLUE, "#8fb8d8")
"""Of neighboring chunks in a lane."""


@dataclass(frozen=True, slots=True, repr=False)
class Picture:
    """A picture with a text version."""

    svg: str
    text: str

    def __repr__(self) -> str:
        return self.text

    def _repr_svg_(self) -> str:
        return self.svg


def bars(seconds: Mapping[str, float], title: str = "") -> Picture:
    """Draw times as bars; the first one is the reference."""
    longest, first = max(seconds.values()), next(iter(seconds.values()))
    room = WIDTH - LABEL - VALUE
    shapes, lines = list(_title(title)), [title] if title else []
    for place, (name, time) in enumerate(seconds.items()):
        top = place * LINE + (LINE if title else 0)
        said = _time(time) + (_compared(time, first) if place else "")
        width = max(room * time / longest, 1)
        color, tall = (GRAY, BLUE, ORANGE)[min(place, 2)], LINE - 8
        shapes += [
            _text(LABEL - 10, top + 17, name, anchor="end"),
            f'<rect x="{LABEL}" y="{top + 4}" width="{width:.1f}" height="{tall}" rx="3" fill="{color}"/>',
            _text(LABEL + width + 8, top + 17, said),
        ]
        lines.append(f"{name}: {said}")
    return _picture(shapes, lines, len(seconds) * LINE + (LINE if title else 0))


def lanes(snapshot: Snapshot, title: str = "") -> Picture:
    """Draw the work of each worker in a run: a block for each piece of work, with its number of items."""
    title = title or f"{snapshot.label}: {_time(snapshot.elapsed)}, {snapshot.done:,} items"
    scale = (WIDTH - LABEL) / max(snapshot.elapsed, 1e-9)
    shapes, lines = list(_title(title)), [title]
    for place, lane in enumerate(sorted(snapshot.lanes, key=lambda lane: lane.worker)):
        top = LINE * (place + 1)
        shapes.append(_text(LABEL - 10, top + 17, lane.worker, anchor="end"))
        shapes += _blocks(lane, top, scale)
        items = ", ".join(str(span.items) for span in lane.spans)
        lines.append(f"{lane.worker}: {items} items" if items else f"{lane.worker}: nothing")
    return _picture(shapes, lines, LINE * (len(snapshot.lanes) + 1))


def _blocks(lane: Lane, top: int, scale: float) -> Iterator[str]:
    for number, span in enumerate(lane.spans):
        x, width = LABEL + span.start * scale, max((span.end - span.start) * scale, 0.5)
        color = ORANGE if span.failed else SHADES[number % 2]
        yield f'<rect x="{x:.1f}" y="{top + 4}" width="{width:.1f}" height="{LINE - 8}" fill="{color}"/>'
        if width > 9 * len(str(span.items)):
            yield _text(x + width / 2, top + 17, str(span.items), anchor="middle", color="#1a1a1a")


def _title(title: str) -> Sequence[str]:
    return [_text(0, 17, title)] if title else []


def _text(x: float, y: float, text: str, *, anchor: str = "start", color: str = INK) -> str:
    return f'<text x="{x:.1f}" y="{y}" text-anchor="{anchor}" fill="{color}">{escape(text)}</text>'


def _picture(shapes: Sequence[str], lines: Sequence[str], height: int) -> Picture:
    text = "\n".join(lines)
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" role="img" font-family="sans-serif" font-size="13">'
        f"<title>{escape(text)}</title>{''.join(shapes)}</svg>"
    )
    return Picture(svg, text)


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 0.1 else f"{seconds * 1000:.1f} ms"


def _compared(seconds: float, first: float) -> str:
    faster = first / seconds
    return f", {faster:.1f} times as fast" if faster > 0.95 else f", {1 / faster:.1f} times as slow"
