"""Compact timelines of workers or stages: strips of levels, and marks.

A strip is divided into slots of equal width; each encodes whether the worker computed during none, some,
most or all of it, or the share of its workers that a stage kept busy.  Another strip encodes the share of
failed items, once there are too many failures to mark each.  When a run outgrows its strips, slots are
joined in pairs, so that a strip has the same size after a second and after a day.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from nbpar.core.lanes import Lane, Span
from nbpar.core.snapshot import Snapshot
from nbpar.views.seats import Seat, Seats, shown

SLOTS = 192
"""Maximal number of slots of a strip."""

FIRST_WIDTH = 0.025
"""Seconds of a slot at the start."""

MARKS = 60
"""Number of latest marks of failures that are kept, and of marks of workers."""

MARKED = 5
"""Maximal number of marks per row for pieces of work with failures; beyond that, the share is drawn."""

FEW = 8
"""Maximal number of pieces of work between two updates that are drawn one by one."""

DENSE = 64
"""Rows above which strips are half as long."""

LATELY = 1.0
"""Seconds over which the number of a stage's workers is averaged, because it fluctuates."""

PER_LETTER = 3
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
"""A letter encodes three slots of two bits, the first slot highest."""


class Mark(NamedTuple):
    """An event in a row."""

    row: int
    kind: str
    """`failed` (an item), `lost`, and in a worker's row `left` or `joined` (later than the first).

    In a stage's row a worker is `lost` that had items of it.
    """

    at: float
    """Seconds since the start of the run."""


@dataclass(slots=True)
class Drawn:
    """The amount of a worker's work that is drawn in a row."""

    state: str = ""
    """Its state at the last update."""

    upto: float = 0.0
    """End of the drawn work, in seconds since the start of the run."""

    counted: float = 0.0
    """Busy seconds drawn so far."""


class Strip:
    """Levels from 0 to 3 over time, as text that is rewritten only where it has changed."""

    def __init__(self) -> None:
        self._letters: list[str] = []
        self._changed = 0

    def letters(self, width: float) -> str:
        """Return the strip as text; the cost is proportional to the changes."""
        slots, first = len(self), self._changed // PER_LETTER
        del self._letters[first:]
        for start in range(first * PER_LETTER, slots, PER_LETTER):
            value = 0
            for slot in range(start, start + PER_LETTER):
                value = 4 * value + (self._level(slot, width) if slot < slots else 0)
            self._letters.append(LETTERS[value])
        self._changed = slots
        return "".join(self._letters)

    def __len__(self) -> int:
        raise NotImplementedError

    def fold(self) -> None:
        """Merge slots in pairs."""
        raise NotImplementedError

    def _level(self, slot: int, width: float) -> int:
        raise NotImplementedError


class Busy(Strip):
    """The busy share of each slot of a row."""

    def __init__(self) -> None:
        super().__init__()
        self._seconds: list[float] = []

    def __len__(self) -> int:
        return len(self._seconds)

    def add(self, start: float, end: float, width: float, share: float = 1.0) -> None:
        """Add work from `start` to `end`, with the busy `share`."""
        first, last = int(start / width), int(end / width)
        self._seconds.extend([0.0] * (last + 1 - len(self._seconds)))
        self._changed = min(self._changed, first)
        for slot in range(first, last + 1):
            inside = min(end, (slot + 1) * width) - max(start, slot * width)
            self._seconds[slot] += max(inside, 0.0) * share

    def fold(self) -> None:
        """Merge slots in pairs."""
        self._seconds = _paired(self._seconds)
        self._changed = 0

    def _level(self, slot: int, width: float) -> int:
        return _level_of(self._seconds[slot] / width, 0.02, 0.4, 0.8)


class Failed(Strip):
    """The share of failures among the items that ended in each slot."""

    def __init__(self) -> None:
        super().__init__()
        self._failed: list[float] = []
        self._items: list[float] = []
        self.pieces = 0
        """Number of pieces of work with a failure so far."""

    def __len__(self) -> int:
        return len(self._items)

    def add(self, span: Span, width: float) -> None:
        """Count the items of a piece of work at its end."""
        slot = int(span.end / width)
        if slot >= len(self._items):
            missing = [0.0] * (slot + 1 - len(self._items))
            self._failed += missing
            self._items += missing
        self._failed[slot] += span.failed
        self._items[slot] += span.items
        self._changed = min(self._changed, slot)

    def fold(self) -> None:
        """Merge slots in pairs."""
        self._failed, self._items = _paired(self._failed), _paired(self._items)
        self._changed = 0

    def _level(self, slot: int, width: float) -> int:  # noqa: ARG002 (independent of the slot's length)
        return _level_of(self._failed[slot] / max(self._items[slot], 1.0), 1e-9, 0.2, 0.8)


class Timeline:
    """All strips, extended with each snapshot."""

    def __init__(self) -> None:
        self.width = FIRST_WIDTH
        self._changes: deque[Mark] = deque(maxlen=MARKS)
        self._failures: deque[Mark] = deque(maxlen=MARKS)
        self.seats: list[Seat] = []
        """Rows of workers, up to the limit; none for a pipeline."""

        self.hidden = 0
        """Number of workers without a row."""

        self.failed = Failed()
        """The share of failures among all items."""

        self._all = Seats()
        self._slots = SLOTS
        self._busy: defaultdict[int, Busy] = defaultdict(Busy)
        self._failed: defaultdict[int, Failed] = defaultdict(Failed)
        self._drawn: defaultdict[int, defaultdict[str, Drawn]] = defaultdict(lambda: defaultdict(Drawn))
        self._upto: defaultdict[int, float] = defaultdict(float)
        self._occupied: deque[tuple[float, list[float]]] = deque()

    @property
    def marks(self) -> list[Mark]:
        """The latest ends of workers, then failures."""
        return [*self._changes, *self._failures]

    @property
    def length(self) -> float:
        """Seconds that the strips can hold."""
        return self.width * self._slots

    def take(self, snapshot: Snapshot) -> None:
        """Draw the new work."""
        self._seat(snapshot)
        while snapshot.elapsed >= self.length:
            self.width *= 2
            for strip in (*self._busy.values(), *self._failed.values(), self.failed):
                strip.fold()
        began = not self._drawn
        for row, lane, share in self._rows(snapshot):
            drawn = self._drawn[row][lane.worker]
            if lane.state != drawn.state:
                self._note_state(row, lane, drawn, snapshot, began=began)
            elif lane.gone is not None:
                continue  # all of it has been drawn
            if new := lane.spans.after(drawn.upto):
                self._draw(row, drawn, new, lane.busy, share)
        if snapshot.stages:
            self._note_occupied(snapshot)

    def letters(self, row: int) -> str:
        """Return the load of a row, as text."""
        strip = self._busy.get(row)
        return strip.letters(self.width) if strip is not None else ""

    def failures(self, row: int) -> str:
        """Return the share of failures of a row's items, as text; "" while marks can show each of them."""
        strip = self._failed.get(row)
        return strip.letters(self.width) if strip is not None and strip.pieces > MARKED else ""

    def upto(self, row: int) -> float:
        """Return the time up to which a row has been drawn."""
        return self._upto[row]

    def before(self, seat: Seat) -> str:
        """Return the previous worker of a row; "" if there was none."""
        return self._all.before(seat.place)

    def working(self, stage: int) -> float:
        """Return the average number of busy workers of a stage in the last second."""
        if not self._occupied:
            return 0.0
        (began, before), (now, after) = self._occupied[0], self._occupied[-1]
        return (after[stage] - before[stage]) / (now - began) if now > began else 0.0

    def _seat(self, snapshot: Snapshot) -> None:
        if snapshot.stages:
            return
        seats = self._all.take(snapshot.lanes)
        self.seats = shown(seats)
        self.hidden = sum(seat.lane.gone is None for seat in seats) - sum(
            seat.lane.gone is None for seat in self.seats
        )
        if len(self.seats) > DENSE:
            self._slots = SLOTS // 2

    def _rows(self, snapshot: Snapshot) -> Iterator[tuple[int, Lane, float]]:
        """Yield the lanes drawn in each row, with the factor of their time."""
        if not snapshot.stages:
            yield from ((self._all[lane.worker], lane, 1.0) for lane in snapshot.lanes)
        for stage in snapshot.stages:
            yield from ((stage.place, lane, 1 / max(stage.workers, 1)) for lane in stage.snapshot.lanes)

    def _note_state(self, row: int, lane: Lane, drawn: Drawn, snapshot: Snapshot, *, began: bool) -> None:
        before, drawn.state = drawn.state, lane.state
        gone = snapshot.elapsed if lane.gone is None else lane.gone
        if snapshot.stages:
            if lane.state == "lost" and lane.dropped:
                self._changes.append(Mark(row, "lost", gone))
            return
        if not before and not began:
            self._changes.append(Mark(row, "joined", lane.joined))
        if lane.state in ("lost", "left"):
            self._changes.append(Mark(row, lane.state, gone))

    def _draw(self, row: int, drawn: Drawn, new: Sequence[Span], counted: float, share: float) -> None:
        strip, busy, end = self._busy[row], counted - drawn.counted, new[-1].end
        if _tells_all(new, busy):
            for span in new:
                strip.add(span.start, span.end, self.width, share)
        else:  # too many to be kept, or answered together: only their sum is known
            start = max(min(drawn.upto, end), min(new[0].start, end - busy), 0.0)
            strip.add(start, end, self.width, min(busy / max(end - start, 1e-9), 1.0) * share)
        self._note_failed(row, new)
        drawn.upto, drawn.counted = end, counted
        self._upto[row] = max(self._upto[row], end)

    def _note_failed(self, row: int, new: Sequence[Span]) -> None:
        """Mark failures, and count failed and successful items, from the first failure on."""
        failed = [span for span in new if span.failed]
        if not failed and not self.failed.pieces:
            return
        self._failures.extend(Mark(row, "failed", span.end) for span in failed[-MARKS:])
        if len(new) > FEW:  # their positions would not be distinguishable
            items, bad = sum(span.items for span in new), sum(span.failed for span in failed)
            new = [new[-1]._replace(items=items, failed=bad)]
        for strip in (self._failed[row], self.failed):
            strip.pieces += len(failed)
            for span in new:
                strip.add(span, self.width)

    def _note_occupied(self, snapshot: Snapshot) -> None:
        occupied = [sum(lane.occupied for lane in stage.snapshot.lanes) for stage in snapshot.stages]
        self._occupied.append((snapshot.elapsed, occupied))
        while len(self._occupied) > 2 and snapshot.elapsed - self._occupied[1][0] >= LATELY:
            self._occupied.popleft()


def _tells_all(spans: Sequence[Span], busy: float) -> bool:
    """Whether spans are contiguous and add up to the busy time."""
    if len(spans) > FEW or abs(sum(span.end - span.start for span in spans) - busy) > 0.01 * busy + 1e-6:
        return False
    return all(a.end <= b.start + 0.02 for a, b in pairwise(spans))


def _paired(numbers: list[float]) -> list[float]:
    """Add pairs of neighbors."""
    if len(numbers) % 2:
        numbers = [*numbers, 0.0]
    return [a + b for a, b in zip(numbers[::2], numbers[1::2], strict=True)]


def _level_of(share: float, low: float, some: float, most: float) -> int:
    return 0 if share < low else 1 if share < some else 2 if share < most else 3
