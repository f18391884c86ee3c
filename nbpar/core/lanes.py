"""What one worker did in a run: counted up event by event, cheaply, because there may be very many."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple, overload

from nbpar.core import events

SPANS = 400
"""Latest spans of work per worker that are kept for its timeline."""

NEIGHBOURS = 0.002
"""Seconds between two pieces of work that still make one span."""

SHORT = 0.01
"""Seconds that a span made of several pieces has at most."""


class Span(NamedTuple):
    """A worker's time with some items; short pieces of work that follow each other are one span."""

    start: float
    """Seconds since the run began."""

    end: float
    first: int
    """Index of the first item of the first piece."""

    items: int
    failed: int


class Spans(Sequence[Span]):
    """A worker's latest work as it was at one moment, oldest first.

    Nothing is copied, because hundreds of workers are looked at many times a second: whatever comes
    later stands behind the end, and nothing is ever taken out of the list.
    """

    __slots__ = ("_growing", "_over", "_start", "_stop")

    def __init__(self, over: list[Span], growing: Span | None) -> None:
        self._over, self._stop, self._growing = over, len(over), growing
        self._start = max(self._stop + (growing is not None) - SPANS, 0)

    def __len__(self) -> int:
        return self._stop - self._start + (self._growing is not None)

    def __iter__(self) -> Iterator[Span]:
        yield from islice(self._over, self._start, self._stop)
        if self._growing is not None:
            yield self._growing

    def __reversed__(self) -> Iterator[Span]:
        if self._growing is not None:
            yield self._growing
        for place in range(self._stop - 1, self._start - 1, -1):
            yield self._over[place]

    @overload
    def __getitem__(self, index: int) -> Span: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Span, ...]: ...
    def __getitem__(self, index: int | slice) -> Span | tuple[Span, ...]:
        return tuple(self)[index]

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Spans) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # like a list's

    def after(self, at: float) -> list[Span]:
        """Return what was done after a moment; of a span that had begun before, the rest."""
        new: list[Span] = []
        for span in reversed(self):
            if span.end <= at:
                break
            new.append(span if span.start >= at else span._replace(start=at))
        new.reverse()
        return new


@dataclass(slots=True)
class Lane:
    """One worker of a run.

    Nobody changes it.  It is not declared frozen because that triples the cost of making one.
    """

    worker: str
    host: str
    pid: int
    state: str
    """`idle`, `busy`, `left` or `lost`."""

    first: int
    """Index of the first item of the chunk it works at; -1 when idle."""

    count: int
    """How many items that chunk has."""

    since: float
    """Seconds since the run began when it got them."""

    done: int
    busy: float
    """Seconds in the user's function."""

    memory: int
    """Resident bytes at last sight; 0 when not known."""

    moved: int
    """Bytes of items and values."""

    note: str
    """Why it was lost."""

    spans: Spans
    """Its latest work.  The last one may still grow."""

    joined: float = 0.0
    """Seconds since the run began when it came."""

    gone: float | None = None
    """Seconds since the run began when it left or died; None while it takes part."""

    occupied: float = 0.0
    """Seconds in which it had something to do, or answers of it were on their way."""

    cpu: float = 0.0
    """CPU seconds of its process meanwhile; 0 when not known."""

    cpu_of_thread: float = 0.0
    """CPU seconds of the thread alone that runs the function."""

    packing: float = 0.0
    """Seconds in which it pickled values and unpickled items."""

    chunks: int = 0
    """Answers it gave."""

    dropped: int = 0
    """Items that it had been given, and had not answered, when it died."""


@dataclass(slots=True)
class LaneCount:
    """The same while it is counted; times are on the dispatcher's clock."""

    begun: float
    """When the run began."""

    joined: float
    host: str
    pid: int
    state: str = "idle"
    gone: float | None = None
    calls: dict[int, tuple[float, int, int]] = field(default_factory=dict)
    done: int = 0
    busy: float = 0.0
    memory: int = 0
    moved: int = 0
    note: str = ""
    cpu: float = 0.0
    cpu_of_thread: float = 0.0
    packing: float = 0.0
    chunks: int = 0
    dropped: int = 0
    occupied: float = 0.0
    work_since: float = 0.0
    """When it got something to do, having had nothing."""

    start: float = 0.0
    """Of the span that may grow; so are the next four."""

    end: float = 0.0
    first: int = 0
    count: int = 0
    failed: int = 0
    spans: list[Span] = field(default_factory=list)
    """Those that grow no more."""

    def sent(self, event: events.ChunkSent) -> None:
        """Count a chunk that the worker was given."""
        calls = self.calls
        if not calls:
            self.state = "busy"
            self.work_since = event.at
        calls[event.call] = (event.at, event.first, event.count)

    def answered(self, event: events.ItemsDone) -> None:
        """Count what came back."""
        at, seconds = event.at, event.seconds
        self.chunks += 1
        self.done += event.count - event.retried
        self.busy += seconds
        self.moved += event.moved
        self.memory = event.memory
        if event.cpu:
            self.cpu += event.cpu
            self.cpu_of_thread += event.cpu_of_thread
        self.packing += event.packing
        if event.count:
            start = at - seconds
            if self.count and start - self.end < NEIGHBOURS and at - self.start < SHORT and not self.failed:
                self.end = at
                self.count += event.count
                self.failed = event.failed
            else:
                self._begin_span(start, event)
        if event.final and self.calls.pop(event.call, None) is not None and not self.calls:
            self.state = "idle"
            self.occupied += at - self.work_since

    def leave(self, at: float, state: str, note: str = "") -> None:
        """Count it out."""
        if self.calls:
            self.occupied += at - self.work_since
            self.dropped = sum(count for _, _, count in self.calls.values())
            self.calls.clear()
        self.state, self.note, self.gone = state, note, at

    def come_again(self) -> None:
        """Count it in again."""
        self.state, self.gone = "idle", None

    def lane(self, worker: str, now: float) -> Lane:
        """Return how it is at `now`; from any thread."""
        begun, calls, gone = self.begun, list(self.calls.values()), self.gone
        since, first, count = calls[0] if calls else (begun, -1, 0)
        occupied = self.occupied + (max(now - self.work_since, 0.0) if calls else 0.0)
        spans = Spans(self.spans, self._span() if self.count else None)
        return Lane(
            worker, self.host, self.pid, self.state, first, count, since - begun, self.done, self.busy,
            self.memory, self.moved, self.note, spans, max(self.joined - begun, 0.0),
            None if gone is None else gone - begun, occupied, self.cpu, self.cpu_of_thread,
            self.packing, self.chunks, self.dropped,
        )  # fmt: skip

    def _begin_span(self, start: float, event: events.ItemsDone) -> None:
        if self.count:
            self.spans.append(self._span())
            if len(self.spans) > 2 * SPANS:
                self.spans = self.spans[-SPANS:]  # another list: `Spans` that were taken keep this one
        self.start, self.end, self.first = start, event.at, event.first
        self.count, self.failed = event.count, event.failed

    def _span(self) -> Span:
        begun = self.begun
        return Span(max(self.start - begun, 0.0), self.end - begun, self.first, self.count, self.failed)
