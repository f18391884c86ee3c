"""State of one run in the scheduler: remaining items, deliverable outcomes.

Plain state, like the scheduler that owns it.  Every item of the source is in exactly one
place: not yet taken, in a chunk to run (again), in flight, held back for order, or delivered.
"""

from __future__ import annotations

import heapq
import itertools
import random
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from nbpar.core.chunking import Chunk, Chunker
from nbpar.core.outcome import Failure, Part, parts_between
from nbpar.core.rates.rate import NEVER, OPEN, Gate
from nbpar.core.rates.retry import Retry
from nbpar.core.scheduling.needs import Claim
from nbpar.core.scheduling.speculation import Speculation
from nbpar.core.sizes import estimated_bytes
from nbpar.core.source import HandedOverSource, SequenceSource, Source

ENOUGH = 2048
"""Short items that a worker may have in its window, in several chunks; a single chunk may be larger."""

MOST_BYTES = 64 << 20
"""Maximal bytes that a stream without `buffersize` is ahead of its consumer, by the size of recent items."""

LONG = 1.0
"""Seconds from which a delay of a retry is told to those who wait."""

UNATTENDED = (SequenceSource, HandedOverSource)
"""Sources that have all their items at once."""


def nothing_known() -> Part | None:
    """Return no known outcomes."""
    return None


class Watcher(Protocol):
    """The scheduler, as runs see it."""

    def touch(self, run: RunState) -> None:
        """Note that a run may have work again, or that its input has changed."""

    def enter(self, run: RunState) -> None:
        """Note that a run may have work."""


@dataclass(slots=True)
class RunState:
    """One run in the scheduler."""

    id: int
    source: Source
    chunker: Chunker = field(default_factory=Chunker)
    ordered: bool = True
    """Deliver in input order."""

    streaming: bool = False
    """Whether a consumer takes the results one by one and reports it by `consume`."""

    buffersize: int | None = None
    """Maximal number of items taken and not yet consumed; None: enough to keep the workers busy."""

    within: Callable[[int], int] | None = None
    """Returns the maximal number taken and not yet consumed, given the number that keeps the workers busy.

    It is called whenever the run is attended to.
    """

    workers: int = 1
    """Number of workers when the run was last attended to."""

    retry: Retry = field(default_factory=Retry)
    gate: Gate | None = None
    """Limits how many items begin in a time; None: nothing does."""

    claim: Claim | None = None
    """Limits how many items are under way on a host; None: nothing does."""

    dice: Callable[[], float] = random.random
    """Numbers from 0 to 1, for the jitter of delays."""

    pinned: tuple[str, ...] | None = None
    """Item i belongs to the i-th of these workers (`Pool.each`)."""

    most_workers: int | None = None
    """Maximal number of workers; None: all."""

    members: dict[str, int] = field(default_factory=dict)
    """The participating workers of a limited run, each with a unique number below `most_workers`."""

    known: Callable[[], Part | None] = nothing_known
    """Returns known outcomes of the source's next items."""

    singly: bool = False
    """Whether each item is a run of its own; on its worker, indices are those in its chunk."""

    forget: Callable[[int], None] | None = None
    """Called with an item that was dropped and will have no outcome; None: it is `let_go`."""

    starved: deque[Chunk] = field(default_factory=deque)
    """Chunks whose worker ran out of memory: each is to be tried with nothing else on its host."""

    let_go: deque[Chunk] = field(default_factory=deque)
    """Skipped items without an outcome, one each, which are to be settled as such."""

    priority: float = 0.0
    """Seconds of workers' time used so far; the run with the least is served first."""

    order: int = 0
    """Its place among runs with equal priority."""

    retry_noted: float | None = None
    """Time of its next retry, as noted by its watcher."""

    watcher: Watcher | None = None
    """Is notified when there may be work."""

    speculation: Speculation = field(default_factory=Speculation)
    """Items that several workers have."""

    delays: dict[int, float] = field(default_factory=dict)
    """Long delays of retries that nobody was told of: the item's index, and when it is due."""

    cancelled: bool = False
    taken: int = 0
    consumed: int = 0
    running: int = 0
    """Number of chunks in flight."""

    _paused: bool = False
    _dropped: set[int] = field(default_factory=set)
    """Items in flight that are not to be started, or started again."""

    _again: deque[Chunk] = field(default_factory=deque)
    _later: list[tuple[float, int, Chunk]] = field(default_factory=list)
    _tie: Iterator[int] = field(default_factory=itertools.count)
    _held: dict[int, Part] = field(default_factory=dict)
    _next_index: int = 0
    _within: int = 1
    """Latest result of `within`."""

    _each: float = 0.0
    """Estimated bytes per item of a stream."""

    @property
    def done(self) -> bool:
        """Whether there is nothing left to run or deliver."""
        if self.running:
            return False
        waiting = self._again or self._later or self.starved or self._held or self.let_go
        return self.cancelled or not (waiting or not self.source.ended)

    @property
    def attended(self) -> bool:
        """Whether its input needs attention: requesting more, and detecting its end."""
        return type(self.source) not in UNATTENDED or self.known is not nothing_known

    @property
    def paused(self) -> bool:
        """Whether it currently starts no items."""
        return self._paused

    @paused.setter
    def paused(self, paused: bool) -> None:
        self._paused = paused
        if self.claim is not None:
            self.claim.leave()
        self._touch()

    @property
    def next_retry(self) -> float | None:
        """Time of the next delayed retry, or when its rate lets more begin, a lower bound; None: neither."""
        if self.gate is not None and self.gate.opens > OPEN:
            return self.gate.opens if self.gate.opens < NEVER else None
        return self._later[0][0] if self._later else None

    def idle(self, now: float) -> bool:
        """Whether it has no work for any worker."""
        if self._paused or self.cancelled or (self.gate is not None and self.gate.is_shut(now)):
            return True
        if self._again or self._retry_due(now):
            return False
        return self.pinned is not None or not (self.source.ready and self._room() > 0)

    def waits(self, worker: str, now: float) -> bool:
        """Whether it has work for this worker, if that were idle."""
        if self.paused or self.cancelled or (self.gate is not None and self.gate.is_shut(now)):
            return False
        if self.pinned is not None:
            return any(self.pinned[chunk.first] == worker for chunk in self._again)
        return bool(self._again or self._retry_due(now) or (self.source.ready and self._room() > 0))

    def admits(self, worker: str) -> bool:
        """Whether a worker takes part, or may: there are not too many yet."""
        return self.most_workers is None or worker in self.members or len(self.members) < self.most_workers

    def enroll(self, worker: str, workers: Iterable[str]) -> None:
        """Assign a number to one of the workers: its place among them if free, otherwise the lowest.

        So the same workers have the same numbers from run to run.
        """
        if self.most_workers is None or worker in self.members:
            return
        free = sorted(set(range(self.most_workers)) - set(self.members.values()))
        place = sorted(workers).index(worker)
        self.members[worker] = place if place in free else free[0]

    def pass_known(self) -> list[Part]:
        """Skip items with known outcomes; return the deliverable part."""
        ready: list[Part] = []
        while not self.cancelled and (part := self.known()) is not None:
            self.taken = part.stop
            ready += self._deliver([part])
        return ready

    def next_chunk(
        self, worker: str, workers: int, now: float, *, idle: bool, most: int = sys.maxsize
    ) -> Chunk | None:
        """Return the next chunk for a worker, one of a number of workers, or None if there is none now.

        If it is a new one it has at most `most` items.  A chunk that killed a worker is run alone, so only
        when the worker is `idle`.
        """
        if self._paused or self.cancelled:
            return None
        if self.pinned is not None:
            return self.pinned_to(worker)
        if self._later and self._retry_due(now):
            return heapq.heappop(self._later)[2] if idle or not self._later[0][2].deaths else None
        if self._again:
            return self._again.popleft() if idle or not self._again[0].deaths else None
        self.workers = workers
        return self._next_new(idle=idle, most=most)

    def settle(
        self,
        chunk: Chunk,
        values: Sequence[Any],
        failures: dict[int, Failure],
        now: float,
        *,
        hopeless: bool = False,
    ) -> tuple[list[Part], list[Failure]]:
        """Record the outcomes of a chunk's items; return the deliverable part, and permanent failures.

        Failures that the run's `retry` allows are retried later, unless they are `hopeless`.
        """
        if self._dropped:
            self._dropped.difference_update(range(chunk.first, chunk.first + len(values)))
        if not failures and not self.speculation.items:
            return self._deliver([Part(chunk.first, values)] if values else []), []
        final = failures
        if self.retry.times and not (self.cancelled or hopeless):
            again, attempt = self.retry.again, chunk.attempt
            final = {
                i: f for i, f in failures.items() if f.skipped or not again(f.exception, attempt, f.after)
            }
        retried = sorted(failures.keys() - final.keys())
        for index in retried:
            self._retry_later(chunk, index, now, failures[index].after)
        if self.speculation.items:
            self._drop_copies([chunk.first + n for n in range(len(values)) if chunk.first + n not in retried])
        return self._deliver(parts_between(chunk.first, values, final, retried)), list(final.values())

    def put_back(self, chunk: Chunk) -> None:
        """Let a chunk that was not sent be the next."""
        self._again.appendleft(chunk)

    def give_back(self, chunk: Chunk) -> None:
        """Return items to the run that no worker has started, unless another has them as well."""
        left = self._left_of(chunk, died=False)
        if left and not self.cancelled:
            self._again.extendleft(reversed(left))
            self._touch()

    def split_after_death(self, chunk: Chunk, *, starved: bool = False) -> bool:
        """Return a chunk whose worker died, in pieces; False if its single item gets no other chance.

        Of a worker that ran out of memory it has one more, with nothing else on its host.
        """
        if not (left := self._left_of(chunk, died=True)):
            return True
        tried = chunk.deaths >= 1 and (chunk.starved or not starved)
        if self.pinned is not None or (len(chunk.items) == 1 and tried):
            return False
        if self.cancelled:
            return True
        pieces = [piece for part in left for piece in part.pieces(starved=starved)]
        (self.starved if starved else self._again).extendleft(reversed(pieces))
        self._touch()
        return True

    def copy(self, chunk: Chunk, parts: int) -> None:
        """Let others begin the items of a worker that does not answer as well, in a number of parts."""
        self.speculation.add(chunk.indices)
        self._again.extendleft(reversed(chunk.parts(parts)))
        self._touch()

    def drop(self, index: int, *, under_way: bool) -> None:
        """Do not start an item, or start it again; if it is in flight it may still have an outcome."""
        if not under_way and any(index in chunk.indices for chunk in self.starved):
            self._again.extendleft(self.starved)
            self.starved.clear()
        waiting = () if under_way else enumerate(self._again)
        place = next((place for place, chunk in waiting if index in chunk.indices), None)
        if under_way or place is not None:
            self._dropped.add(index)
        if place is not None:
            chunk = self._again[place]
            del self._again[place]
            for part in reversed(self._undropped(chunk)):
                self._again.insert(place, part)

    def skip(self, index: int, *, under_way: bool) -> None:
        """Drop an item likewise, also one that is only retried later, or not even read yet."""
        retried = next((entry for entry in self._later if index == entry[2].first), None)
        if retried is not None:
            self._later.remove(retried)
            heapq.heapify(self._later)
            self.let_go.append(retried[2])
        elif index >= self.taken:
            self._dropped.add(index)
            self._let_go_of_next()
        else:
            self.drop(index, under_way=under_way)

    def _let_go_of_next(self) -> None:
        """Read the next items of the input if they were skipped: they need not wait for worker or rate."""
        while self.taken in self._dropped and self.known is nothing_known and self._room() > 0:
            if not (self.source.ready and len(items := self.source.take(1, eager=True))):
                return
            self.taken += 1
            self._undropped(Chunk(self.taken - 1, items))

    def is_dropped(self, index: int) -> bool:
        """Whether an item that may be in flight was dropped."""
        return index in self._dropped

    def _left_of(self, chunk: Chunk, *, died: bool) -> list[Chunk]:
        """Return the parts of a chunk that no other worker has, and that were not dropped."""
        mine = self.speculation.take_back(chunk, died=died) if self.speculation.items else [chunk]
        return [part for own in mine for part in self._undropped(own)]

    def _drop_copies(self, settled: list[int]) -> None:
        """Drop waiting copies of items that have just got their outcomes."""
        self.speculation.settle(settled)
        self.speculation.end(settled)
        fresh = self.speculation.fresh
        self._again = deque(chunk.part(part) for chunk in self._again for part in fresh(chunk.indices))
        self.starved = deque(chunk.part(part) for chunk in self.starved for part in fresh(chunk.indices))
        self._later = [entry for entry in self._later if fresh(entry[2].indices)]
        heapq.heapify(self._later)

    def _undropped(self, chunk: Chunk) -> list[Chunk]:
        """Return the parts of a chunk between its dropped items, which are forgotten."""
        parts, start = [], chunk.first
        for index in [index for index in chunk.indices if index in self._dropped] if self._dropped else ():
            self._dropped.discard(index)
            if self.forget is not None:
                self.forget(index)
            else:
                self.let_go.append(chunk.rest(index - chunk.first).head(1))
            parts.append(chunk.rest(start - chunk.first).head(index - start))
            start = index + 1
        parts.append(chunk.rest(start - chunk.first) if start > chunk.first else chunk)
        return [part for part in parts if len(part.items)]  # an array has no truth value

    def consume(self, items: int) -> None:
        """Record that the consumer has taken a number of items."""
        self.consumed += items
        self._touch()

    def cancel(self) -> None:
        """Drop the items that have not started."""
        self.cancelled = True
        if self.claim is not None:
            self.claim.leave()
        self._again.clear()
        self.starved.clear()
        self._later.clear()
        self.let_go.clear()

    def flush(self) -> list[Part]:
        """Return the outcomes held back for order, in order (the run was canceled)."""
        held, self._held = sorted(self._held.items()), {}
        return [part for _, part in held]

    def ask(self, workers: int) -> None:
        """Compute how much may be taken ahead, and let the source read that far."""
        self.workers = workers
        if self.within is not None:
            self._within = self.within(self.appetite())
        deep = self.chunker.window if self.chunker.concurrency else min(self.chunker.window, 8)
        ahead = 2 * max(workers, 1) * self.chunker.current * deep
        self.source.want(self.taken + min(ahead, self._room()))
        if self.watcher is not None:
            self.watcher.enter(self)

    def appetite(self) -> int:
        """Number of items that keep its workers busy for a moment: a few chunks for each."""
        chunk = self.chunker.coming
        workers = max(min(self.workers, self.most_workers or self.workers), 1)
        if self.chunker.concurrency:
            return 2 * workers * self.chunker.window
        number = 4 * workers * max(chunk, min(chunk * self.chunker.window, ENOUGH))
        if each := max(self._each, self.chunker.bytes_per_item):
            number = min(number, max(int(MOST_BYTES / each), 2 * workers))
        return number

    def _touch(self) -> None:
        if self.watcher is not None:
            self.watcher.touch(self)

    def _room(self) -> int:
        """Number of items that may be taken before the consumer must take some; may be negative."""
        if not self.streaming:
            return sys.maxsize
        return self.consumed + self._look_ahead() - self.taken

    def _look_ahead(self) -> int:
        if self.buffersize is not None:
            return self.buffersize
        return self.appetite() if self.within is None else self._within

    def _next_new(self, *, idle: bool, most: int) -> Chunk | None:
        while not self.source.ended:
            size = min(self.chunker.size(self._remaining(), self.workers), most)
            if self.streaming and (size := min(size, self._room())) < 1:
                return None
            items = self.source.take(size, eager=idle)
            if not len(items):
                return None
            if self.streaming and self.buffersize is None and self.within is None and type(items) is list:
                self._each = max(estimated_bytes(items[-1], depth=1), 0.9 * self._each)
            chunk = Chunk(self.taken, items)
            self.taken += len(items)
            if not self._dropped:
                return chunk
            self._again.extend(self._undropped(chunk))  # some of them were skipped before they were read
            if self._again:
                return self._again.popleft()
        return None

    def _remaining(self) -> int | None:
        """Number of items to share among the workers: all remaining, or the maximal number held at once."""
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
        """Take the chunk reserved for a worker, if there is one."""
        for chunk in self._again:
            if self.pinned is not None and self.pinned[chunk.first] == worker:
                self._again.remove(chunk)
                return chunk
        return None

    def _retry_due(self, now: float) -> bool:
        return bool(self._later) and self._later[0][0] <= now

    def _retry_later(self, chunk: Chunk, index: int, now: float, after: float | None) -> None:
        offset = index - chunk.first
        again = Chunk(index, chunk.items[offset : offset + 1], chunk.attempt + 1, chunk.deaths)
        due = now + self.retry.delay_before(again.attempt, self.dice(), after)
        if due - now >= LONG:
            self.delays[index] = due
        heapq.heappush(self._later, (due, next(self._tie), again))

    def _deliver(self, parts: list[Part]) -> list[Part]:
        if not self.ordered:
            return parts
        if not self._held and len(parts) == 1 and parts[0].first == self._next_index:
            self._next_index = parts[0].stop
            return parts
        for part in parts:
            self._held[part.first] = part
        ready = []
        while (part_or_none := self._held.pop(self._next_index, None)) is not None:
            ready.append(part_or_none)
            self._next_index = part_or_none.stop
        return ready
