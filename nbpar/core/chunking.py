"""Size of the next chunk, and the number of chunks in flight per worker.

A first chunk has one item.  From then on a running estimate of the seconds per item aims
at `TARGET` seconds of work per chunk; chunks grow from answer to answer, and shrink near a
known end so that all workers finish together (guided self-scheduling, Polychronopoulos and
Kuck 1987).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

TARGET = 0.05
"""Seconds of work per chunk: much longer than a round trip, short for a person."""

LARGEST_BYTES = 8 << 20
"""A chunk whose items are larger than this in sum is made smaller."""

DEEPEST = 128
"""Maximal number of chunks in a worker's window."""

QUICKEST = 8e-6
"""Minimal seconds a worker needs for a chunk, even an empty one."""

HIDDEN = 0.004
"""A round trip below this share of a chunk's work is not worth hiding by a deeper window."""

SHARE = 3
"""Near the end a chunk is at most this fraction of a worker's share of the rest."""

SHORTEST = 0.002
"""Seconds of work below which a chunk does not shrink near the end."""

GROWTH = 2
"""A chunk has at most this number of times the items of the one before."""

EARLY_GROWTH = 8
"""The same while chunks are shorter than `SHORTEST`."""

PIECES = 64
"""Maximal number of pieces into which the chunk of a dead worker is split."""

LARGEST = 1 << 20
"""Maximal number of items in a chunk, if nothing else limits it."""

MOST_JOINED = PIECES
"""Maximal number of chunks of a fixed size in one call: if its worker dies, each is tried by itself."""


TOGETHER = 64
"""Maximal number of calls that are sent together: as many as are tried one by one after a death."""

WITHIN = 1e-3
"""Seconds of work that are sent together, if there is as much: no more, so that results are not late."""


class Chunker:
    """Chunk sizes and windows of one run, from the cost of its chunks so far.

    Args:
        fixed: items in every chunk; None: chosen by the following.
        joins: whether chunks of a fixed size that are shorter than `shortest` are sent together, as one
            larger chunk, which can be cut where an item lasts.
        expected: seconds per item in an earlier run of the same function; the first chunks are larger then,
            if not by much, because the items may be different ones.
        largest: maximal number of items.
        target: seconds of work per chunk.
        shortest: seconds of work below which a chunk does not shrink near the end.
    """

    def __init__(
        self,
        fixed: int | None = None,
        *,
        joins: bool = False,
        expected: float | None = None,
        largest: int = LARGEST,
        target: float = TARGET,
        shortest: float = SHORTEST,
    ) -> None:
        self._fixed = fixed
        self._joins = joins and fixed is not None
        self._expected = expected if fixed is None else None
        self._largest = largest
        self._target = target
        self._shortest = shortest
        self._size = fixed or 1
        self._seconds: float | None = None
        self._bytes = 0.0
        self._round_trip = 2e-4
        self.window = 1
        """Number of chunks in flight that keep a worker busy."""

    concurrency = 0
    """How many items of an async function are under way at once on each worker; 0: it is an ordinary one."""

    @property
    def fixed(self) -> int | None:
        """The requested size; None if it is automatic."""
        return self._fixed

    @property
    def seconds_per_item(self) -> float | None:
        """Running estimate; None before the first answer."""
        return self._seconds

    @property
    def round_trip(self) -> float:
        """Running estimate of the seconds between a worker's answer and its next chunk."""
        return self._round_trip

    @property
    def current(self) -> int:
        """Items in a chunk, away from the end."""
        return self._size

    @property
    def bytes_per_item(self) -> float:
        """Running estimate of the bytes moved to and from a worker; 0 where nothing is moved."""
        return self._bytes

    @property
    def coming(self) -> int:
        """Items in the chunks after the next answer, if that is like the last."""
        return self._size if self._fixed is not None or self._seconds is None else self._aim()

    @property
    def timed(self) -> bool:
        """Whether items are so long that timing each of them costs nothing in comparison."""
        return self._seconds is None or self._seconds > 5e-5

    def size(self, remaining: int | None, workers: int) -> int:
        """Number of items in the next chunk when `remaining` are left for a number of workers."""
        if remaining is None or (self._fixed is not None and not self._joins):
            return self._size
        if self._seconds is None:
            return self._first(remaining, workers)
        share = math.ceil(remaining / (SHARE * max(workers, 1)))
        if self._fixed is not None:
            return min(self._size, -(-share // self._fixed) * self._fixed)
        shortest = int(self._shortest / self._seconds)
        return max(1, min(self._size, max(share, shortest)))

    def _windowed(self) -> int:
        assert self._seconds is not None
        work = max(self._seconds * self._size, QUICKEST)
        waits = 2 * self._round_trip / work
        return 1 if waits < HIDDEN else min(1 + math.ceil(waits), self._deepest())

    def _deepest(self) -> int:
        """Return how many chunks may be in flight; of large ones one arrives while another runs."""
        nbytes = self._bytes * self._size
        return DEEPEST if nbytes * DEEPEST <= LARGEST_BYTES else max(int(LARGEST_BYTES / nbytes), 2)

    def learn(self, items: int, seconds: float, *, moved: int = 0, round_trip: float | None = None) -> None:
        """Update the estimate: a chunk of `items` took `seconds` of work and moved a number of bytes.

        `round_trip` is the time from sending to answer minus the work, for an idle worker.
        """
        if round_trip is not None:
            self._round_trip += 0.2 * (max(round_trip, 0.0) - self._round_trip)
        if not items:
            return
        each = max(seconds / items, 1e-9)
        self._seconds = each if self._seconds is None else self._seconds + 0.3 * (each - self._seconds)
        self._bytes = max(moved / items, 0.9 * self._bytes)
        if self._fixed is None:
            self._size = self._aim()
        elif self._joins:
            self._size = self._joined(self._fixed)
        self.window = self._windowed()

    def _aim(self) -> int:
        assert self._seconds is not None
        growth = EARLY_GROWTH if self._seconds * self._size < SHORTEST else GROWTH
        aim = min(growth * self._size, self._largest, int(self._target / self._seconds))
        if self._bytes:
            aim = min(aim, int(LARGEST_BYTES / self._bytes))
        return max(aim, 1)

    def _first(self, remaining: int, workers: int) -> int:
        """Return the number of items in each chunk that is sent before the first answer."""
        if self._expected is not None:
            brief = int(self._shortest / max(self._expected, 1e-9))
            self._size = max(1, min(EARLY_GROWTH, brief, self._largest, remaining // max(workers, 1)))
            self._expected = None
        return self._size

    def _joined(self, fixed: int) -> int:
        """Return the number of items in as many chunks of a fixed size as are sent together."""
        assert self._seconds is not None
        most = min(EARLY_GROWTH * self._size, MOST_JOINED * fixed, self._largest)
        items = min(most, int(self._shortest / self._seconds))
        if self._bytes:
            items = min(items, int(LARGEST_BYTES / self._bytes))
        return max(items // fixed, 1) * fixed


@dataclass(frozen=True, slots=True)
class Chunk:
    """Neighboring items that are sent together."""

    first: int
    """Index of the first item."""

    items: Sequence[Any]

    attempt: int = 1
    """Number of the current attempt at these items."""

    deaths: int = 0
    """Number of workers that died while running one of these items."""

    starved: bool = False
    """Whether the last of them ran out of memory, so that these are tried with nothing else on the host."""

    @property
    def indices(self) -> range:
        """The indices of its items."""
        return range(self.first, self.first + len(self.items))

    def head(self, count: int) -> Chunk:
        """Return the chunk's first `count` items."""
        return Chunk(self.first, self.items[:count], self.attempt, self.deaths, self.starved)

    def rest(self, done: int) -> Chunk:
        """Return the chunk without its first `done` items."""
        return Chunk(self.first + done, self.items[done:], self.attempt, self.deaths, self.starved)

    def part(self, indices: range) -> Chunk:
        """Return the chunk's items with these indices."""
        return self.rest(indices.start - self.first).head(len(indices))

    def pieces(self, *, starved: bool = False) -> list[Chunk]:
        """Cut the chunk, whose worker died, perhaps for lack of memory, into pieces to be tried again."""
        return [replace(piece, deaths=self.deaths + 1, starved=starved) for piece in self.parts(PIECES)]

    def parts(self, number: int) -> list[Chunk]:
        """Cut the chunk into at most `number` chunks of about the same size."""
        size = max(-(-len(self.items) // number), 1)
        return [self.rest(start).head(size) for start in range(0, len(self.items), size)]


def chunker_of_calls(most: int = TOGETHER) -> Chunker:
    """Return what decides how many calls are sent together, `most` at most."""
    return Chunker(largest=min(TOGETHER, most), target=WITHIN, shortest=WITHIN)
