"""Fold events into a snapshot, the only input of views."""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, ClassVar

from nbpar.core import events
from nbpar.core import text as wording
from nbpar.core.events import ItemsDone
from nbpar.core.lanes import LaneCount
from nbpar.core.outcome import Failure, FailureGroups
from nbpar.core.sizes import small
from nbpar.core.snapshot import PackageImports, Snapshot

FIRST_FAILURES = 20
"""Number of failures in a snapshot: those with the lowest indices, independently of arrival."""

LATEST_OUTPUT = 50
"""Number of pieces of output in a snapshot."""

SLOWEST = 10
"""Number of slowest items that are recorded."""

TOLD_FROM = 2.0
"""Seconds of waiting for the rate from which they are told."""

RATE_OVER = 5.0
"""Seconds over which the rate is averaged."""


class Progress:
    """The fold.  Events come from one thread, snapshots may be taken from another.

    Args:
        frugal: of the slowest items keep only small ones: a stream drops its items when they are done.
    """

    def __init__(self, *, frugal: bool = False) -> None:
        self._frugal = frugal
        self._begun = 0.0
        self._ended: float | None = None
        self._label = ""
        self._state = "waiting"
        self._paused: float | None = None
        self._total: int | None = None
        self._done = self._failed = self._retried = self._moved = self._lost = 0
        self._chunk_size = 1
        self._lanes: dict[str, LaneCount] = {}
        self._failures: list[Failure] = []
        self._groups = FailureGroups()
        self._output: deque[tuple[int, str, str]] = deque(maxlen=LATEST_OUTPUT)
        self._marks: deque[tuple[float, int]] = deque()
        self._slowest: list[tuple[float, int]] = []
        self._known = self._skipped = 0
        self._lack = self._awaited = ""
        self._slow_items: dict[int, Sequence[Any]] = {}
        self._rate_text, self._opens = "", 0.0
        self._limited = 0.0
        """Seconds in which it waited for its rate, but for the current ones."""

        self._limited_since: float | None = None
        self._delayed: dict[int, tuple[float, str]] = {}
        """When items that wait long for their next attempt are due, and what has failed them."""

        self._here = self._most = 0
        self._first_joined: float | None = None
        self._packing = self._held = 0.0
        self._low_since: float | None = None
        self._imports: dict[str, dict[str, float]] = {}
        """Seconds by package and worker."""

    def __call__(self, event: events.Event) -> None:
        """Handle an event."""
        kind = type(event)
        if kind is ItemsDone:
            self._items_done(event)  # type: ignore[arg-type]  # its type was looked at, in the quickest way
        elif (handler := self._HANDLERS.get(kind)) is not None:
            handler(self, event)

    @property
    def done(self) -> int:
        """Number of items with an outcome."""
        return self._done

    @property
    def total(self) -> int | None:
        """Number of items; None if unknown."""
        return self._total

    @property
    def failed(self) -> int:
        """Number of permanently failed items."""
        return self._failed

    def snapshot(self, now: float) -> Snapshot:
        """Return the state at `now`, on the clock of the events."""
        end = self._ended if self._ended is not None else now
        elapsed = max(end - self._begun, 0.0) if self._begun else 0.0
        rate = self._rate(end, elapsed)
        left = None
        if self._total is not None and rate > 0 and self._ended is None:
            left = max(self._total - self._done, 0) / rate
        paused = self._paused is not None and self._ended is None
        slowest = tuple(self._slowest)
        return Snapshot(
            self._label, "paused" if paused else self._state, self._total, self._done,
            self._failed, self._retried, elapsed, rate, left, self._chunk_size, self._moved,
            sum(lane.busy for lane in list(self._lanes.values())), self._lost,
            tuple(lane.lane(name, end) for name, lane in list(self._lanes.items())),
            tuple(self._failures), tuple(self._output), slowest, self._known, self._note(end),
            tuple(self._slow_items.get(index, ()) for _, index in slowest),
            elapsed if self._first_joined is None else max(self._first_joined - self._begun, 0.0),
            self._held + _since(self._low_since, end),
            self._packing, self._most, failure_groups=self._groups.known(),
            paused=max(end - self._paused, 0.0) if paused and self._paused is not None else 0.0,
            low=self._low_since is not None and self._ended is None, imports=self._imports_by_package(),
            skipped=self._skipped,
            limited=self._limited + _since(self._limited_since, end), rate_limit=self._rate_text,
        )  # fmt: skip

    def _note(self, now: float) -> str:
        """Return why the run is slower than possible."""
        return self._lack or self._awaited or self._rate_note(now) or self._waiting(now)

    def _rate_note(self, now: float) -> str:
        """Return that the run waits for its rate, and for how long if that is worth telling."""
        if self._limited_since is None or self._ended is not None:
            return ""
        left = self._opens - now
        return f"limited by rate {self._rate_text}" + (
            f", next in {wording.whole_seconds(left)}" if left >= TOLD_FROM else ""
        )

    def _waiting(self, now: float) -> str:
        """Return for how long items wait for their next attempts, and why."""
        waits = [(due, why) for due, why in list(self._delayed.values()) if due > now]
        if not waits or self._ended is not None:
            return ""
        due, why = min(waits)
        left = wording.whole_seconds(due - now)
        if len(waits) > 1 or any(lane.state == "busy" for lane in list(self._lanes.values())):
            return f"{wording.plural(len(waits), 'item')} to retry, the first in {left}: {why}"
        return f"waits {left}: {why}"

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
            self._lanes[event.worker] = LaneCount(
                self._begun, event.at, event.host, event.pid, event.machine, event.device
            )
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

    def _silent(self, event: events.WorkerSilent) -> None:
        if (lane := self._lanes.get(event.worker)) is not None and lane.gone is None:
            lane.fall_silent(event.at)

    def _answering(self, event: events.WorkerAnswering) -> None:
        if (lane := self._lanes.get(event.worker)) is not None:
            lane.answer_again(event.at)

    def _part(self, event: events.WorkerLeft | events.WorkerLost, state: str, note: str) -> None:
        if (lane := self._lanes.get(event.worker)) is not None and lane.gone is None:
            lane.leave(event.at, state, note)
            self._here -= 1

    def _item_delayed(self, event: events.ItemDelayed) -> None:
        self._delayed[event.index] = event.due, event.why

    def _sent(self, event: events.ChunkSent) -> None:
        if self._delayed and event.attempt > 1:
            self._delayed.pop(event.first, None)
        if (lane := self._lanes.get(event.worker)) is not None:
            lane.sent(event)

    def _cut(self, event: events.ChunkCut) -> None:
        if (lane := self._lanes.get(event.worker)) is not None:
            lane.cut(event)

    def _bars_moved(self, event: events.BarsMoved) -> None:
        if (lane := self._lanes.get(event.worker)) is not None:
            lane.move_bars(event)

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

    def _packages_imported(self, event: events.PackagesImported) -> None:
        for name, seconds in event.packages:
            on = self._imports.setdefault(name, {})
            on[event.worker] = on.get(event.worker, 0.0) + seconds
            if (lane := self._lanes.get(event.worker)) is not None:
                lane.importing += seconds

    def _imports_by_package(self) -> tuple[PackageImports, ...]:
        found = ((name, dict(on)) for name, on in list(self._imports.items()))
        rows = [PackageImports(name, sum(on.values()), len(on)) for name, on in found]
        return tuple(sorted(rows, key=attrgetter("seconds"), reverse=True))

    def _items_known(self, event: events.ItemsKnown) -> None:
        """Handle items known from a journal: they are done, but do not count for the rate."""
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
            if self._frugal:
                new = {index: item for index, item in new.items() if small(item)}
            items = {**self._slow_items, **new}
            self._slow_items = {index: items[index] for _, index in self._slowest if index in items}

    def _item_failed(self, event: events.ItemFailed) -> None:
        self._groups.add(event.failure)
        self._skipped += event.failure.skipped
        insort(self._failures, event.failure, key=attrgetter("index"))
        del self._failures[FIRST_FAILURES:]

    def _printed(self, event: events.ItemPrinted) -> None:
        piece = event.piece
        self._output.append((piece.index, piece.stream, piece.text))

    def _paused_or_not(self, event: events.RunPaused) -> None:
        if not event.paused:
            self._paused = None
        elif self._paused is None:
            self._paused = event.at

    def _memory_low(self, event: events.MemoryLow) -> None:
        self._lack = f"held back: {event.free / 1e9:.1f} GB of memory left" if event.low else ""
        if self._low_since is not None:
            self._held += event.at - self._low_since
        self._low_since = event.at if event.low else None

    def _rate_reached(self, event: events.RateReached) -> None:
        if self._limited_since is not None:
            self._limited += event.at - self._limited_since
        self._limited_since = event.at if event.limited else None
        self._rate_text, self._opens = event.rate, event.until or 0.0

    def _workers_awaited(self, event: events.WorkersAwaited) -> None:
        self._awaited = event.words

    def _finished(self, event: events.RunFinished) -> None:
        self._ended, self._state = event.at, event.state
        self._lack = self._awaited = ""

    _HANDLERS: ClassVar[dict[type[Any], Callable[..., None]]] = {
        events.RunStarted: _started,
        events.WorkerJoined: _joined,
        events.WorkerLeft: _left,
        events.WorkerLost: _lost_worker,
        events.WorkerSilent: _silent,
        events.WorkerAnswering: _answering,
        events.ChunkSent: _sent,
        events.ChunkCut: _cut,
        events.ItemsDone: _items_done,
        events.ItemsKnown: _items_known,
        events.PackagesImported: _packages_imported,
        events.ItemDelayed: _item_delayed,
        events.ItemFailed: _item_failed,
        events.ItemPrinted: _printed,
        events.BarsMoved: _bars_moved,
        events.RunPaused: _paused_or_not,
        events.MemoryLow: _memory_low,
        events.RateReached: _rate_reached,
        events.WorkersAwaited: _workers_awaited,
        events.RunFinished: _finished,
    }


def _since(begun: float | None, now: float) -> float:
    """Return the seconds for which something has lasted, if it does."""
    return 0.0 if begun is None else max(now - begun, 0.0)
