"""Fold events into a snapshot: what a view needs to know of a run, and nothing else."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from nbpar.core import events
from nbpar.core.outcome import Failure

FIRST_FAILURES = 20
"""Failures that a snapshot shows."""

LATEST_OUTPUT = 50
"""Pieces of output that a snapshot shows."""

SPANS = 400
"""Latest spans of work per worker that are kept for its timeline."""

SLOWEST = 10
"""Slowest items that are remembered."""

RATE_OVER = 5.0
"""Seconds over which the rate is taken."""


@dataclass(frozen=True, slots=True)
class Span:
    """A worker's time with neighbouring items."""

    start: float
    """Seconds since the run began."""

    end: float
    first: int
    count: int
    failed: int


@dataclass(frozen=True, slots=True)
class Lane:
    """One worker of a run."""

    worker: str
    host: str
    pid: int
    state: str
    """`idle`, `busy`, `left` or `lost`."""

    first: int
    """Index of the first item it has now; -1 when idle."""

    count: int
    """How many items it has now."""

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

    spans: tuple[Span, ...]
    """Its latest work, oldest first."""


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
    """The first ones."""

    output: tuple[tuple[int, str, str], ...]
    """The latest: index, stream, text."""

    slowest: tuple[tuple[float, int], ...]
    """Seconds and index of the slowest items, slowest first; only where items were timed one by one."""

    known: int = 0
    """Items among those done whose values came from an earlier run."""

    note: str = ""
    """Why it goes more slowly than it could; "" when nothing holds it back."""

    @property
    def over(self) -> bool:
        """Whether nothing will change any more."""
        return self.state in ("done", "failed", "stopped")


@dataclass(slots=True)
class _Lane:
    host: str
    pid: int
    state: str = "idle"
    calls: dict[int, tuple[float, int, int]] = field(default_factory=dict)
    done: int = 0
    busy: float = 0.0
    memory: int = 0
    moved: int = 0
    note: str = ""
    spans: deque[Span] = field(default_factory=lambda: deque(maxlen=SPANS))


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
        self._lanes: dict[str, _Lane] = {}
        self._failures: list[Failure] = []
        self._output: deque[tuple[int, str, str]] = deque(maxlen=LATEST_OUTPUT)
        self._marks: deque[tuple[float, int]] = deque()
        self._slowest: list[tuple[float, int]] = []
        self._known = 0
        self._note = ""

    def __call__(self, event: events.Event) -> None:
        """Take in an event."""
        handler = self._HANDLERS.get(type(event))
        if handler is not None:
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
        return Snapshot(
            self._label, state, self._total, self._done,
            self._failed, self._retried, elapsed, rate, left, self._chunk_size, self._moved,
            sum(lane.busy for lane in list(self._lanes.values())), self._lost,
            tuple(self._lane(name, lane) for name, lane in list(self._lanes.items())),
            tuple(self._failures), tuple(self._output), tuple(self._slowest), self._known, self._note,
        )  # fmt: skip

    def _rate(self, end: float, elapsed: float) -> float:
        if self._ended is not None or not self._marks:
            return (self._done - self._known) / elapsed if elapsed > 0 else 0.0
        start, done = self._marks[0]
        span = end - start
        return (self._done - done) / span if span > 0 else 0.0

    def _lane(self, name: str, lane: _Lane) -> Lane:
        calls = list(lane.calls.values())
        since, first, _ = calls[0] if calls else (0.0, -1, 0)
        return Lane(
            name, lane.host, lane.pid, lane.state, first, sum(call[2] for call in calls), since,
            lane.done, lane.busy, lane.memory, lane.moved, lane.note, tuple(lane.spans),
        )  # fmt: skip

    def _started(self, event: events.RunStarted) -> None:
        self._begun, self._label, self._total = event.at, event.label, event.total
        self._marks.append((event.at, 0))

    def _joined(self, event: events.WorkerJoined) -> None:
        lane = self._lanes.setdefault(event.worker, _Lane(event.host, event.pid))
        lane.state = "idle"
        if self._state == "waiting":
            self._state = "running"

    def _left(self, event: events.WorkerLeft) -> None:
        if (lane := self._lanes.get(event.worker)) is not None:
            lane.state = "left"

    def _lost_worker(self, event: events.WorkerLost) -> None:
        self._lost += 1
        if (lane := self._lanes.get(event.worker)) is not None:
            lane.state, lane.note = "lost", event.reason
            lane.calls.clear()

    def _sent(self, event: events.ChunkSent) -> None:
        if (lane := self._lanes.get(event.worker)) is not None:
            lane.state = "busy"
            lane.calls[event.call] = (event.at - self._begun, event.first, event.count)

    def _items_done(self, event: events.ItemsDone) -> None:
        settled = event.count - event.retried
        self._done += settled
        self._failed += event.failed
        self._retried += event.retried
        self._moved += event.moved
        self._chunk_size = event.chunk_size
        if settled:
            self._mark(event.at)
        self._note_slow(event)
        if (lane := self._lanes.get(event.worker)) is None:
            return
        lane.done += settled
        lane.busy += event.seconds
        lane.moved += event.moved
        lane.memory = event.memory
        end = event.at - self._begun
        lane.spans.append(Span(max(end - event.seconds, 0.0), end, event.first, event.count, event.failed))
        if event.final:
            lane.calls.pop(event.call, None)
            if not lane.calls and lane.state == "busy":
                lane.state = "idle"

    def _items_known(self, event: events.ItemsKnown) -> None:
        """Take in what nobody computed: it is done, and says nothing of how fast the rest goes."""
        self._done += event.count
        self._known += event.count
        self._marks = deque((at, done + event.count) for at, done in self._marks)

    def _mark(self, at: float) -> None:
        if at - self._marks[-1][0] > RATE_OVER / 50:
            self._marks.append((at, self._done))
        while len(self._marks) > 2 and at - self._marks[1][0] > RATE_OVER:
            self._marks.popleft()

    def _note_slow(self, event: events.ItemsDone) -> None:
        if event.each:
            slow = [(seconds, event.first + place) for place, seconds in enumerate(event.each)]
            self._slowest = sorted(self._slowest + slow, reverse=True)[:SLOWEST]

    def _item_failed(self, event: events.ItemFailed) -> None:
        if len(self._failures) < FIRST_FAILURES:
            self._failures.append(event.failure)

    def _printed(self, event: events.ItemPrinted) -> None:
        self._output.append((event.index, event.stream, event.text))

    def _paused_or_not(self, event: events.RunPaused) -> None:
        self._paused = event.paused

    def _memory_low(self, event: events.MemoryLow) -> None:
        self._note = f"held back: {event.free / 1e9:.1f} GB of memory left" if event.low else ""

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
