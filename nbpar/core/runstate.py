"""What one run still has to do, and which of its outcomes may be delivered.

Plain state, like the scheduler that owns it.  Every item of the source is in exactly one
place: not yet taken, in a chunk to run (again), under way, held back for order, or delivered.
"""

from __future__ import annotations

import heapq
import itertools
import random
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from nbpar.core.chunk import Chunk
from nbpar.core.chunking import Chunker
from nbpar.core.outcome import Failure, Part
from nbpar.core.retry import Retry
from nbpar.core.source import SequenceSource, Source

ENOUGH = 2048
"""Short items that a worker may have before it, in several chunks; a single chunk may be larger."""


def nothing_known() -> Part | None:
    """Know no outcomes before they are computed."""
    return None


@dataclass(slots=True)
class RunState:
    """One run as the scheduler sees it."""

    id: int
    source: Source
    chunker: Chunker = field(default_factory=Chunker)
    ordered: bool = True
    """Deliver in input order."""

    streaming: bool = False
    """Whether a consumer takes the results one by one and reports it by `consume`."""

    buffersize: int | None = None
    """At most so many items are taken and not yet consumed; None: as many as keep the workers busy."""

    within: Callable[[int], int] | None = None
    """Returns how many may be taken and not yet consumed, of as many as keep the workers busy.

    It is asked whenever the run is looked after.
    """

    workers: int = 1
    """How many there were when the run was last looked after."""

    retry: Retry = field(default_factory=Retry)
    dice: Callable[[], float] = random.random
    """Numbers from 0 to 1, for the jitter of delays."""

    pinned: tuple[str, ...] | None = None
    """Item i belongs to the i-th of these workers (`Pool.each`)."""

    most_workers: int | None = None
    """At most so many workers take part; None: all."""

    members: dict[str, int] = field(default_factory=dict)
    """Who takes part when not all do, each with a number of its own below `most_workers`."""

    known: Callable[[], Part | None] = nothing_known
    """Returns outcomes that the source's next items have already."""

    priority: float = 0.0
    """Seconds of workers' time used so far; the run with the least is served first."""

    paused: bool = False
    cancelled: bool = False
    taken: int = 0
    consumed: int = 0
    running: int = 0
    """Chunks under way."""

    _again: deque[Chunk] = field(default_factory=deque)
    _later: list[tuple[float, int, Chunk]] = field(default_factory=list)
    _tie: Iterator[int] = field(default_factory=itertools.count)
    _held: dict[int, Part] = field(default_factory=dict)
    _next_index: int = 0
    _within: int = 1
    """What `within` has returned."""

    @property
    def done(self) -> bool:
        """Whether nothing is left to run or deliver."""
        if self.running:
            return False
        return self.cancelled or not (self._again or self._later or self._held or not self.source.ended)

    @property
    def attended(self) -> bool:
        """Whether its input has to be looked after: asked for more, and seen to end."""
        return type(self.source) is not SequenceSource or self.known is not nothing_known

    def due(self, now: float) -> float | None:
        """When the next delayed retry may run; None when one may run now, or none waits."""
        if self.paused or not self._later or self._later[0][0] <= now:
            return None
        return self._later[0][0]

    def waits(self, worker: str, now: float) -> bool:
        """Whether something could run on this worker now, if it had nothing else to do."""
        if self.paused or self.cancelled:
            return False
        if self.pinned is not None:
            return any(self.pinned[chunk.first] == worker for chunk in self._again)
        return bool(self._again or self._retry_due(now) or (self.source.ready and self._room() > 0))

    def enrol(self, worker: str, workers: Iterable[str]) -> None:
        """Let one of the workers take part: by its place among them if that number is free, or the lowest.

        So the same workers have the same numbers from run to run.
        """
        if self.most_workers is None or worker in self.members:
            return
        free = sorted(set(range(self.most_workers)) - set(self.members.values()))
        place = sorted(workers).index(worker)
        self.members[worker] = place if place in free else free[0]

    def pass_known(self) -> list[Part]:
        """Pass by items that have their outcomes already; return what may be delivered now."""
        ready: list[Part] = []
        while not self.cancelled and (part := self.known()) is not None:
            self.taken = part.stop
            ready += self._deliver([part])
        return ready

    def next_chunk(self, worker: str, workers: int, now: float, *, idle: bool) -> Chunk | None:
        """Return what to run next on a worker, one of so many, or None for nothing at the moment.

        What killed a worker is run with nothing before or behind it, so only when the worker is `idle`.
        """
        if self.paused or self.cancelled:
            return None
        if self.pinned is not None:
            return self.pinned_to(worker)
        if self._retry_due(now):
            return heapq.heappop(self._later)[2] if idle or not self._later[0][2].deaths else None
        if self._again:
            return self._again.popleft() if idle or not self._again[0].deaths else None
        self.workers = workers
        return self._next_new(idle=idle)

    def settle(
        self,
        chunk: Chunk,
        values: Sequence[Any],
        failures: dict[int, Failure],
        now: float,
        *,
        hopeless: bool = False,
    ) -> tuple[list[Part], list[Failure]]:
        """Take the outcomes of a chunk's items; return what may be delivered now, and what failed for good.

        Failures that the run's `retry` allows come back later, unless they are `hopeless`.
        """
        final = failures
        if failures and self.retry.times and not (self.cancelled or hopeless):
            final = {i: f for i, f in failures.items() if not self.retry.again(f.exception, chunk.attempt)}
        retried = sorted(failures.keys() - final.keys())
        for index in retried:
            self._retry_later(chunk, index, now)
        return self._deliver(_parts_between(chunk.first, values, final, retried)), list(final.values())

    def give_back(self, chunk: Chunk) -> None:
        """Put items back that no worker has begun."""
        if len(chunk.items) and not self.cancelled:  # an array has no truth value
            self._again.appendleft(chunk)

    def split_after_death(self, chunk: Chunk) -> bool:
        """Put a chunk back whose worker died, in pieces; False when its one item has no other chance."""
        if self.pinned is not None or (len(chunk.items) == 1 and chunk.deaths >= 1):
            return False
        if self.cancelled:
            return True
        self._again.extendleft(reversed(chunk.pieces()))
        return True

    def consume(self, items: int) -> None:
        """Take in that the consumer has taken so many items more."""
        self.consumed += items

    def cancel(self) -> None:
        """Forget what has not begun."""
        self.cancelled = True
        self._again.clear()
        self._later.clear()

    def flush(self) -> list[Part]:
        """Return what was held back for order, in order (the run was cancelled)."""
        held, self._held = sorted(self._held.items()), {}
        return [part for _, part in held]

    def ask(self, workers: int) -> None:
        """Look how much may be taken ahead, and tell the source how much it may read."""
        self.workers = workers
        if self.within is not None:
            self._within = self.within(self.appetite())
        ahead = 2 * max(workers, 1) * self.chunker.current * min(self.chunker.window(), 8)
        self.source.want(self.taken + min(ahead, self._room()))

    def appetite(self) -> int:
        """Items that keep its workers busy for the next moments: a few chunks for each."""
        chunk = self.chunker.coming
        workers = min(self.workers, self.most_workers or self.workers)
        return 4 * max(workers, 1) * max(chunk, min(chunk * self.chunker.window(), ENOUGH))

    def _room(self) -> int:
        """How many items more may be taken before the consumer has to take some; may be negative."""
        if not self.streaming:
            return sys.maxsize
        return self.consumed + self._look_ahead() - self.taken

    def _look_ahead(self) -> int:
        if self.buffersize is not None:
            return self.buffersize
        return self.appetite() if self.within is None else self._within

    def _next_new(self, *, idle: bool) -> Chunk | None:
        if self.source.ended:
            return None
        size = min(self.chunker.size(self._remaining(), self.workers), self._room())
        if size < 1:
            return None
        items = self.source.take(size, eager=idle)
        if not len(items):
            return None
        chunk = Chunk(self.taken, items)
        self.taken += len(items)
        return chunk

    def _remaining(self) -> int | None:
        """How many items to share among the workers: what is left, or what may be held at once."""
        remaining = self.source.remaining
        if not self.streaming or (self.buffersize is None and self.within is None):
            return remaining
        ahead = self._look_ahead()
        return ahead if remaining is None else min(remaining, ahead)

    def pin(self, workers: Iterable[str], item: Any) -> None:
        """Make one item for each of these workers."""
        self.pinned = tuple(workers)
        self._again.extend(Chunk(place, [item]) for place in range(len(self.pinned)))
        self.taken = len(self.pinned)

    def pinned_to(self, worker: str) -> Chunk | None:
        """Take the chunk that waits for a worker, if there is one."""
        for chunk in self._again:
            if self.pinned is not None and self.pinned[chunk.first] == worker:
                self._again.remove(chunk)
                return chunk
        return None

    def _retry_due(self, now: float) -> bool:
        return bool(self._later) and self._later[0][0] <= now

    def _retry_later(self, chunk: Chunk, index: int, now: float) -> None:
        offset = index - chunk.first
        again = Chunk(index, chunk.items[offset : offset + 1], chunk.attempt + 1, chunk.deaths)
        due = now + self.retry.delay_before(again.attempt, self.dice())
        heapq.heappush(self._later, (due, next(self._tie), again))

    def _deliver(self, parts: list[Part]) -> list[Part]:
        if not self.ordered:
            return parts
        for part in parts:
            self._held[part.first] = part
        ready = []
        while (part_or_none := self._held.pop(self._next_index, None)) is not None:
            ready.append(part_or_none)
            self._next_index = part_or_none.stop
        return ready


def _parts_between(
    first: int, values: Sequence[Any], failures: dict[int, Failure], gaps: list[int]
) -> list[Part]:
    """Cut outcomes into parts that leave out the items in `gaps`."""
    if not gaps:
        return [Part(first, values, failures)] if values else []
    parts = []
    starts = [first, *(gap + 1 for gap in gaps)]
    stops = [*gaps, first + len(values)]
    for start, stop in zip(starts, stops, strict=True):
        if start < stop:
            inside = {i: f for i, f in failures.items() if start <= i < stop}
            parts.append(Part(start, values[start - first : stop - first], inside))
    return parts
