"""Fold events into a snapshot: what a view needs to know of a run, and nothing else."""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar

from nbpar.core import events
from nbpar.core.events import ItemsDone
from nbpar.core.lanes import Lane, LaneCount
from nbpar.core.outcome import Failure

if TYPE_CHECKING:
    from nbpar.core.stages import StageFigures

FIRST_FAILURES = 20
"""Failures that a snapshot shows: those with the lowest indices, whichever came first."""

LATEST_OUTPUT = 50
"""Pieces of output that a snapshot shows."""

SLOWEST = 10
"""Slowest items that are remembered."""

RATE_OVER = 5.0
"""Seconds over which the rate is taken."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A run at one moment."""

    label: str
    state: str
    """`waiting` (no worker yet), `running`, `paused`, `done`, `failed` or `stopped`."""

    total: int | None
    done: int
    """Items that have an outcome, failures included."""

    failed: int
    retried: int
    elapsed: float
    """Seconds since the run began."""

    rate: float
    """Items per second, lately; on the whole when the run is over."""

    left: float | None
    """Seconds that are left, as far as one can tell."""

    chunk_size: int
    moved: int
    busy: float
    """Seconds in the user's function, all workers together."""

    lost_workers: int
    lanes: tuple[Lane, ...]
    failures: tuple[Failure, ...]
    """The first ones, in input order."""

    output: tuple[tuple[int, str, str], ...]
    """The latest: index, stream, text."""

    slowest: tuple[tuple[float, int], ...]
    """Seconds and index of the slowest items, slowest first; only where items were timed one by one."""

    known: int = 0
    """Items among those done whose values came from an earlier run."""

    note: str = ""
    """Why it goes more slowly than it could; "" when nothing holds it back."""

    slow_items: tuple[Any, ...] = ()
    """The items among `slowest`, in sequences of one; an empty one where the item is not known."""

    waited: float = 0.0
    """Seconds from the beginning until the first worker was there."""

    held: float = 0.0
    """Seconds in which too little memory held work back."""

    packing: float = 0.0
    """Seconds in which this process pickled items and unpickled values."""

    workers: int = 0
    """The most workers that took part at the same time."""

    stages: tuple[StageFigures, ...] = ()
    """Those of a pipeline, in the order in which items pass them; none in a map."""

    @property
    def over(self) -> bool:
        """Whether nothing will change any more."""
        return self.state in ("done", "failed", "stopped")


class Progress:
    """The fold.  Events come from one thread, snapshots may be taken from another."""

    def __init__(self) -> None:
        self._begun = 0.0
        self._ended: float | None = None
        self._label = ""
        self._state = "waiting"
        self._paused = False
        self._total: int | None = None
        self._done = self._failed = self._retried = self._moved = self._lost = 0
        self._chunk_size = 1
        self._lanes: dict[str, LaneCount] = {}
        self._failures: list[Failure] = []
        self._output: deque[tuple[int, str, str]] = deque(maxlen=LATEST_OUTPUT)
        self._marks: deque[tuple[float, int]] = deque()
        self._slowest: list[tuple[float, int]] = []
        self._known = 0
        self._note = ""
        self._slow_items: dict[int, Sequence[Any]] = {}
        self._here = self._most = 0
        self._first_joined: float | None = None
        self._packing = self._held = 0.0
        self._low_since: float | None = None

    def __call__(self, event: events.Event) -> None:
        """Take in an event."""
        kind = type(event)
        if kind is ItemsDone:
            self._items_done(event)  # type: ignore[arg-type]  # its type was looked at, in the quickest way
        elif (handler := self._HANDLERS.get(kind)) is not None:
            handler(self, event)

    @property
    def done(self) -> int:
        """Items that have an outcome."""
        return self._done

    def snapshot(self, now: float) -> Snapshot:
        """Return the state at `now`, on the clock of the events."""
        end = self._ended if self._ended is not None else now
        elapsed = max(end - self._begun, 0.0) if self._begun else 0.0
        rate = self._rate(end, elapsed)
        left = None
        if self._total is not None and rate > 0 and self._ended is None:
            left = max(self._total - self._done, 0) / rate
        state = "paused" if self._paused and self._ended is None else self._state
        slowest = tuple(self._slowest)
        return Snapshot(
            self._label, state, self._total, self._done,
            self._failed, self._retried, elapsed, rate, left, self._chunk_size, self._moved,
            sum(lane.busy for lane in list(self._lanes.values())), self._lost,
            tuple(lane.lane(name, end) for name, lane in list(self._lanes.items())),
            tuple(self._failures), tuple(self._output), slowest, self._known, self._note,
            tuple(self._slow_items.get(index, ()) for _, index in slowest),
            elapsed if self._first_joined is None else max(self._first_joined - self._begun, 0.0),
            self._held + (0.0 if self._low_since is None else max(end - self._low_since, 0.0)),
            self._packing, self._most,
        )  # fmt: skip

    def _rate(self, end: float, elapsed: float) -> float:
        if self._ended is not None or not self._marks:
            return (self._done - self._known) / elapsed if elapsed > 0 else 0.0
        start, done = self._marks[0]
        span = end - start
        return (self._done - done) / span if span > 0 else 0.0

    def _started(self, event: events.RunStarted) -> None:
        self._begun, self._label, self._total = event.at, event.label, event.total
        self._marks.append((event.at, 0))

    def _joined(self, event: events.WorkerJoined) -> None:
        lane = self._lanes.get(event.worker)
        if lane is None:
            self._lanes[event.worker] = LaneCount(self._begun, event.at, event.host, event.pid)
        elif lane.gone is None:
            return
        else:
            lane.come_again()
        self._here += 1
        self._most = max(self._most, self._here)
        if self._first_joined is None:
            self._first_joined = event.at
        if self._state == "waiting":
            self._state = "running"

    def _left(self, event: events.WorkerLeft) -> None:
        self._part(event, "left", "")

    def _lost_worker(self, event: events.WorkerLost) -> None:
        self._lost += 1
        self._part(event, "lost", event.reason)

    def _part(self, event: events.WorkerLeft | events.WorkerLost, state: str, note: str) -> None:
        if (lane := self._lanes.get(event.worker)) is not None and lane.gone is None:
            lane.leave(event.at, state, note)
            self._here -= 1

    def _sent(self, event: events.ChunkSent) -> None:
        if (lane := self._lanes.get(event.worker)) is not None:
            lane.sent(event)

    def _items_done(self, event: events.ItemsDone) -> None:
        settled = event.count - event.retried
        if settled:
            self._done += settled
            if event.at - self._marks[-1][0] > RATE_OVER / 50:
                self._mark(event.at)
        if event.failed or event.retried:
            self._failed += event.failed
            self._retried += event.retried
        self._moved += event.moved
        self._packing += event.here
        self._chunk_size = event.chunk_size
        if event.each:
            self._note_slow(event)
        if (lane := self._lanes.get(event.worker)) is not None:
            lane.answered(event)

    def _items_known(self, event: events.ItemsKnown) -> None:
        """Take in what nobody computed: it is done, and says nothing of how fast the rest goes."""
        self._done += event.count
        self._known += event.count
        self._marks = deque((at, done + event.count) for at, done in self._marks)

    def _mark(self, at: float) -> None:
        self._marks.append((at, self._done))
        while len(self._marks) > 2 and at - self._marks[1][0] > RATE_OVER:
            self._marks.popleft()

    def _note_slow(self, event: events.ItemsDone) -> None:
        known = self._slowest
        if len(known) == SLOWEST and max(event.each) <= known[-1][0]:
            return
        slow = [(seconds, event.first + place) for place, seconds in enumerate(event.each)]
        self._slowest = sorted(known + slow, reverse=True)[:SLOWEST]
        if event.chunk is not None:
            places = {index: index - event.chunk.first for _, index in slow}
            new = {index: event.chunk.items[at : at + 1] for index, at in places.items() if at >= 0}
            items = {**self._slow_items, **new}
            self._slow_items = {index: items[index] for _, index in self._slowest if index in items}

    def _item_failed(self, event: events.ItemFailed) -> None:
        insort(self._failures, event.failure, key=attrgetter("index"))
        del self._failures[FIRST_FAILURES:]

    def _printed(self, event: events.ItemPrinted) -> None:
        piece = event.piece
        self._output.append((piece.index, piece.stream, piece.text))

    def _paused_or_not(self, event: events.RunPaused) -> None:
        self._paused = event.paused

    def _memory_low(self, event: events.MemoryLow) -> None:
        self._note = f"held back: {event.free / 1e9:.1f} GB of memory left" if event.low else ""
        if self._low_since is not None:
            self._held += event.at - self._low_since
        self._low_since = event.at if event.low else None

    def _finished(self, event: events.RunFinished) -> None:
        self._ended, self._state, self._note = event.at, event.state, ""

    _HANDLERS: ClassVar[dict[type[Any], Callable[..., None]]] = {
        events.RunStarted: _started,
        events.WorkerJoined: _joined,
        events.WorkerLeft: _left,
        events.WorkerLost: _lost_worker,
        events.ChunkSent: _sent,
        events.ItemsDone: _items_done,
        events.ItemsKnown: _items_known,
        events.ItemFailed: _item_failed,
        events.ItemPrinted: _printed,
        events.RunPaused: _paused_or_not,
        events.MemoryLow: _memory_low,
        events.RunFinished: _finished,
    }
