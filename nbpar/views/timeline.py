"""What each worker, or each stage of a pipeline, did over time, in little space: strips of levels, and marks.

A strip is cut into slots of equal width; each says whether the worker computed during none, some,
most or all of it, or what part of its workers a stage kept busy.  When a run outgrows its strips,
slots are joined in pairs, so that a strip has the same size after a second and after a day.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from nbpar.core.lanes import Lane, Span
from nbpar.core.progress import Snapshot

SLOTS = 192
"""Slots of a strip, at most."""

FIRST_WIDTH = 0.025
"""Seconds of a slot at the start."""

MARKS = 60
"""Marks that are kept, the latest."""

PER_LETTER = 3
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
"""A letter stands for three slots of two bits, the first slot highest."""


Row = str | int
"""What has a strip: a worker by its name, a stage by its place."""


class Mark(NamedTuple):
    """Something that happened in a row."""

    row: Row
    kind: str
    """`failed` (an item), `lost`, and in a worker's row `left` or `joined` (later than the first).

    In a stage's row a worker is `lost` that had items of it.
    """

    at: float
    """Seconds since the run began."""


@dataclass(slots=True)
class Drawn:
    """How much of a worker is drawn in a row."""

    state: str = ""
    """Its state when it was looked at last."""

    upto: float = 0.0
    """Seconds since the run began up to which its work is."""

    counted: float = 0.0
    """Busy seconds that are."""


class Strip:
    """The time of one row."""

    def __init__(self) -> None:
        self._busy: list[float] = []
        self._letters: list[str] = []
        self._changed = 0

    def add(self, start: float, end: float, width: float, share: float = 1.0) -> None:
        """Draw work from `start` to `end`, of which `share` was busy."""
        first, last = int(start / width), int(end / width)
        self._busy.extend([0.0] * (last + 1 - len(self._busy)))
        self._changed = min(self._changed, first)
        for slot in range(first, last + 1):
            inside = min(end, (slot + 1) * width) - max(start, slot * width)
            self._busy[slot] += max(inside, 0.0) * share

    def fold(self) -> None:
        """Join slots in pairs."""
        if len(self._busy) % 2:
            self._busy.append(0.0)
        self._busy = [a + b for a, b in zip(self._busy[::2], self._busy[1::2], strict=True)]
        self._changed = 0

    def letters(self, width: float) -> str:
        """Return the strip as text; costs as much as has changed."""
        first = self._changed // PER_LETTER
        del self._letters[first:]
        for place in range(first * PER_LETTER, len(self._busy), PER_LETTER):
            self._letters.append(_letter(self._busy[place : place + PER_LETTER], width))
        self._changed = len(self._busy)
        return "".join(self._letters)


class Timeline:
    """All strips, drawn further with each snapshot."""

    def __init__(self) -> None:
        self.width = FIRST_WIDTH
        self.marks: deque[Mark] = deque(maxlen=MARKS)
        self._slots = SLOTS
        self._strips: defaultdict[Row, Strip] = defaultdict(Strip)
        self._drawn: defaultdict[Row, defaultdict[str, Drawn]] = defaultdict(lambda: defaultdict(Drawn))

    @property
    def length(self) -> float:
        """Seconds that the strips have room for."""
        return self.width * self._slots

    def take(self, snapshot: Snapshot) -> None:
        """Draw what is new."""
        if len(snapshot.lanes) > 64 and not snapshot.stages:
            self._slots = SLOTS // 2
        while snapshot.elapsed >= self.length:
            self.width *= 2
            for strip in self._strips.values():
                strip.fold()
        began = not self._drawn
        for row, lane, share in _rows(snapshot):
            drawn = self._drawn[row][lane.worker]
            if lane.state != drawn.state:
                self._note_state(row, lane, drawn, snapshot.elapsed, began=began)
            if new := lane.spans.after(drawn.upto):
                self._draw(row, drawn, new, lane.busy, share)

    def letters(self, row: Row) -> str:
        """Return a row's strip as text."""
        strip = self._strips.get(row)
        return strip.letters(self.width) if strip is not None else ""

    def upto(self, row: Row) -> float:
        """Return the time up to which a row is drawn."""
        return max((drawn.upto for drawn in self._drawn.get(row, {}).values()), default=0.0)

    def _note_state(self, row: Row, lane: Lane, drawn: Drawn, now: float, *, began: bool) -> None:
        before, drawn.state = drawn.state, lane.state
        if isinstance(row, int):
            if lane.state == "lost" and lane.dropped:
                self.marks.append(Mark(row, "lost", now))
            return
        if not before and not began:
            self.marks.append(Mark(row, "joined", now))
        if lane.state in ("lost", "left"):
            self.marks.append(Mark(row, lane.state, now))

    def _draw(self, row: Row, drawn: Drawn, new: Sequence[Span], counted: float, share: float) -> None:
        strip, busy, end = self._strips[row], counted - drawn.counted, new[-1].end
        if _tells_all(new, busy):
            for span in new:
                strip.add(span.start, span.end, self.width, share)
        else:  # too many to be kept, or answered together: only their sum is known
            start = max(min(drawn.upto, end), min(new[0].start, end - busy), 0.0)
            strip.add(start, end, self.width, min(busy / max(end - start, 1e-9), 1.0) * share)
        self.marks.extend(Mark(row, "failed", span.end) for span in new[-MARKS:] if span.failed)
        drawn.upto, drawn.counted = end, counted


def _rows(snapshot: Snapshot) -> Iterator[tuple[Row, Lane, float]]:
    """Yield whose work is drawn in which row, and for how much of it its whole time counts."""
    if not snapshot.stages:
        yield from ((lane.worker, lane, 1.0) for lane in snapshot.lanes)
    for stage in snapshot.stages:
        yield from ((stage.place, lane, 1 / max(stage.workers, 1)) for lane in stage.snapshot.lanes)


def _tells_all(spans: Sequence[Span], busy: float) -> bool:
    """Whether spans follow one another and add up to the busy time."""
    if len(spans) > 8 or abs(sum(span.end - span.start for span in spans) - busy) > 0.01 * busy + 1e-6:
        return False
    return all(a.end <= b.start + 0.02 for a, b in pairwise(spans))


def _letter(busy: Sequence[float], width: float) -> str:
    value = 0
    for place in range(PER_LETTER):
        share = busy[place] / width if place < len(busy) else 0.0
        value = value * 4 + (0 if share < 0.02 else 1 if share < 0.4 else 2 if share < 0.8 else 3)
    return LETTERS[value]
