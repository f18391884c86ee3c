"""Activity of one worker in a run, aggregated event by event in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple, overload

from nbpar.core import events
from nbpar.core.inner_bars import Bars

SPANS = 400
"""Number of latest spans of work per worker kept for its timeline."""

NEIGHBORS = 0.002
"""Maximal seconds between two pieces of work in one span."""

SHORT = 0.01
"""Maximal seconds of a span made of several pieces."""


class Span(NamedTuple):
    """A worker's time with some items; short pieces of work that follow each other are one span."""

    start: float
    """Seconds since the start of the run."""

    end: float
    first: int
    """Index of the first item of the first piece."""

    items: int
    failed: int


class Spans(Sequence[Span]):
    """A worker's latest work at one moment, oldest first.

    Nothing is copied, because hundreds of workers are displayed many times a second: later entries
    are beyond the end, and nothing is ever removed from the list.
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
        """Return the work after a moment, including the rest of a span that started before."""
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

    It is never changed.  It is not declared frozen because that triples the cost of creation.
    """

    worker: str
    host: str
    pid: int
    state: str
    """`idle`, `busy`, `silent`, `left` or `lost`."""

    first: int
    """Index of the first item without an outcome of the chunk it works at; -1 when idle."""

    count: int
    """Number of such items in that chunk."""

    since: float
    """Seconds from the start of the run until it began with them, as far as is known."""

    done: int
    busy: float
    """Seconds in the user's function."""

    memory: int
    """Resident bytes when last measured; 0 if unknown."""

    moved: int
    """Bytes of items and values."""

    note: str
    """The reason of its loss."""

    spans: Spans
    """Its latest work.  The last one may still grow."""

    joined: float = 0.0
    """Seconds from the start of the run until it joined."""

    gone: float | None = None
    """Seconds from the start of the run until it left or died; None while it is present."""

    occupied: float = 0.0
    """Seconds in which it had work, or its answers were in transit."""

    cpu: float = 0.0
    """CPU seconds of its process in this time; 0 if unknown."""

    cpu_of_thread: float = 0.0
    """CPU seconds of only the thread that runs the function."""

    queued: float = 0.0
    """Seconds in which that thread waited for a CPU."""

    packing: float = 0.0
    """Seconds in which it pickled values and unpickled items."""

    chunks: int = 0
    """Number of answers."""

    dropped: int = 0
    """Items sent to it and not answered when it died."""

    importing: float = 0.0
    """Seconds in which it imported packages that were not loaded."""

    machine: str = ""
    """Machine and pid namespace of its process; "" if unknown."""

    silent: float = 0.0
    """Seconds in which it did not answer."""

    inner: Bars = ()
    """Progress bars inside an item that it runs, outermost first."""

    inner_item: int = -1
    """Index of that item."""

    device: str = ""
    """The one device that it may use, such as `GPU 0`; "" if that is unknown, or none or several."""

    @property
    def process(self) -> tuple[str, int | str]:
        """Its process; that of threads is one."""
        return self.machine or self.host, self.pid or self.worker


@dataclass(slots=True)
class LaneCount:
    """The mutable counterpart; times are on the dispatcher's clock."""

    begun: float
    """Start time of the run."""

    joined: float
    host: str
    pid: int
    machine: str = ""
    device: str = ""
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
    queued: float = 0.0
    packing: float = 0.0
    chunks: int = 0
    dropped: int = 0
    occupied: float = 0.0
    importing: float = 0.0
    silent: float = 0.0
    silent_since: float | None = None
    work_since: float = 0.0
    """Time of its first work after it was idle."""

    start: float = 0.0
    """Of the span that may grow; the next four likewise."""

    end: float = 0.0
    first: int = 0
    count: int = 0
    failed: int = 0
    spans: list[Span] = field(default_factory=list)
    """Those that no longer grow."""

    inner: dict[tuple[int, int], Bars] = field(default_factory=dict)
    """Bars inside the items that it runs, by call and index."""

    def sent(self, event: events.ChunkSent) -> None:
        """Count a chunk sent to the worker."""
        calls = self.calls
        if not calls:
            self.state = "busy"
            self.work_since = event.at
        calls[event.call] = (event.at, event.first, event.count)

    def cut(self, event: events.ChunkCut) -> None:
        """Count what the worker has given back of a chunk."""
        if (call := self.calls.get(event.call)) is not None:
            self.calls[event.call] = (*call[:2], event.count)

    def answered(self, event: events.ItemsDone) -> None:
        """Count an answer."""
        at, seconds = event.at, event.seconds
        self.chunks += 1
        self.done += event.count - event.retried
        self.busy += seconds
        self.moved += event.moved
        self.memory = event.memory
        if event.cpu:
            self.cpu += event.cpu
            self.cpu_of_thread += event.cpu_of_thread
            self.queued += event.queued
        self.packing += event.packing
        if event.count:
            start = at - seconds
            if self.count and start - self.end < NEIGHBORS and at - self.start < SHORT and not self.failed:
                self.end = at
                self.count += event.count
                self.failed = event.failed
            else:
                self._begin_span(start, event)
        if not event.final and event.count and (call := self.calls.get(event.call)) is not None:
            done = event.first + event.count  # the next item has just begun
            self.calls[event.call] = (at, done, max(call[1] + call[2] - done, 1))
        if self.inner:
            self._end_bars(event)
        if event.final and self.calls.pop(event.call, None) is not None and not self.calls:
            self.state = "idle"
            self.occupied += at - self.work_since

    def move_bars(self, event: events.BarsMoved) -> None:
        """Note how far an item has come."""
        if event.bars:
            self.inner[event.call, event.index] = event.bars
        else:
            self.inner.pop((event.call, event.index), None)

    def fall_silent(self, at: float) -> None:
        """Note that it does not answer."""
        self.state, self.silent_since = "silent", at

    def answer_again(self, at: float) -> None:
        """Note that it answers again."""
        if self.silent_since is not None:
            self.silent += at - self.silent_since
            self.state, self.silent_since = "busy" if self.calls else "idle", None

    def leave(self, at: float, state: str, note: str = "") -> None:
        """Note that it left."""
        self.answer_again(at)
        if self.calls:
            self.occupied += at - self.work_since
            self.dropped = sum(count for _, _, count in self.calls.values())
            self.calls.clear()
        self.inner.clear()
        self.state, self.note, self.gone = state, note, at

    def come_again(self) -> None:
        """Note that it returned."""
        self.state, self.gone = "idle", None

    def lane(self, worker: str, now: float) -> Lane:
        """Return its state at `now`; thread-safe."""
        begun, calls, gone = self.begun, list(self.calls.values()), self.gone
        since, first, count = calls[0] if calls else (begun, -1, 0)
        occupied = self.occupied + (max(now - self.work_since, 0.0) if calls else 0.0)
        silent = self.silent + (max(now - self.silent_since, 0.0) if self.silent_since is not None else 0.0)
        spans = Spans(self.spans, self._span() if self.count else None)
        return Lane(
            worker, self.host, self.pid, self.state, first, count, since - begun, self.done, self.busy,
            self.memory, self.moved, self.note, spans, max(self.joined - begun, 0.0),
            None if gone is None else gone - begun, occupied, self.cpu, self.cpu_of_thread,
            self.queued, self.packing, self.chunks, self.dropped, self.importing, self.machine,
            silent, *_shown(list(self.inner.items())), self.device,
        )  # fmt: skip

    def _end_bars(self, event: events.ItemsDone) -> None:
        """Drop the bars of items that have their outcomes."""
        place = range(event.first, event.first + event.count)
        for call, index in list(self.inner):
            if call == event.call and (event.final or index in place):
                del self.inner[call, index]

    def _begin_span(self, start: float, event: events.ItemsDone) -> None:
        if self.count:
            self.spans.append(self._span())
            if len(self.spans) > 2 * SPANS:
                self.spans = self.spans[-SPANS:]  # a new list: existing `Spans` keep this one
        self.start, self.end, self.first = start, event.at, event.first
        self.count, self.failed = event.count, event.failed

    def _span(self) -> Span:
        begun = self.begun
        return Span(max(self.start - begun, 0.0), self.end - begun, self.first, self.count, self.failed)


def _shown(inner: list[tuple[tuple[int, int], Bars]]) -> tuple[Bars, int]:
    """Return the bars of the item that began first, and its index."""
    return (inner[0][1], inner[0][0][1]) if inner else ((), -1)
