"""How large the next chunk is, and how many chunks a worker has under way.

A first chunk has one item.  From then on a running estimate of the seconds per item aims
at `TARGET` seconds of work per chunk; chunks grow from answer to answer, and shrink near a
known end so that all workers finish together (guided self-scheduling, Polychronopoulos and
Kuck 1987).
"""

from __future__ import annotations

import math

TARGET = 0.05
"""Seconds of work per chunk: long against a round trip, short for a person."""

LARGEST_BYTES = 8 << 20
"""A chunk whose items are larger than this in sum is made smaller."""

DEEPEST = 128
"""No worker has more chunks than this under way."""

QUICKEST = 8e-6
"""Seconds that a worker needs at least for a chunk, whatever is in it."""

HIDDEN = 0.004
"""A round trip below this share of a chunk's work is not worth hiding by a deeper window."""

SHARE = 3
"""Near the end a chunk is at most this part of a worker's share of the rest."""

SHORTEST = 0.002
"""Seconds of work below which a chunk does not shrink near the end."""

GROWTH = 2
"""A chunk has at most so many times the items of the one before."""

EARLY_GROWTH = 8
"""The same while chunks are shorter than `SHORTEST`."""


class Chunker:
    """Chunk sizes and windows of one run, from what its chunks cost so far."""

    def __init__(self, fixed: int | None = None, *, largest: int = 1 << 20) -> None:
        self._fixed = fixed
        self._largest = largest
        self._size = fixed or 1
        self._seconds: float | None = None
        self._bytes = 0.0
        self._round_trip = 2e-4

    @property
    def fixed(self) -> int | None:
        """The size that was asked for; None when it is chosen here."""
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
    def coming(self) -> int:
        """Items in the chunks after the next answer, should that be like the last."""
        return self._size if self._fixed or self._seconds is None else self._aim()

    @property
    def timed(self) -> bool:
        """Whether items are long enough that timing each of them costs nothing to speak of."""
        return self._seconds is None or self._seconds > 5e-5

    def size(self, remaining: int | None, workers: int) -> int:
        """Items in the next chunk when `remaining` are left for so many workers."""
        if self._fixed or remaining is None:
            return self._size
        share = math.ceil(remaining / (SHARE * max(workers, 1)))
        shortest = int(SHORTEST / self._seconds) if self._seconds else 1
        return max(1, min(self._size, max(share, shortest)))

    def window(self) -> int:
        """How many chunks a worker should have under way to stay busy."""
        if self._seconds is None:
            return 1
        work = max(self._seconds * self._size, QUICKEST)
        waits = 2 * self._round_trip / work
        return 1 if waits < HIDDEN else min(1 + math.ceil(waits), DEEPEST)

    def learn(self, items: int, seconds: float, *, moved: int = 0, round_trip: float | None = None) -> None:
        """Take in that a chunk of `items` took `seconds` of work and moved so many bytes.

        `round_trip` is the time from sending to answer less the work, for a worker that was idle.
        """
        if round_trip is not None:
            self._round_trip += 0.2 * (max(round_trip, 0.0) - self._round_trip)
        if not items:
            return
        each = max(seconds / items, 1e-9)
        self._seconds = each if self._seconds is None else self._seconds + 0.3 * (each - self._seconds)
        self._bytes = max(moved / items, 0.9 * self._bytes)
        if not self._fixed:
            self._size = self._aim()

    def _aim(self) -> int:
        assert self._seconds is not None
        growth = EARLY_GROWTH if self._seconds * self._size < SHORTEST else GROWTH
        aim = min(growth * self._size, self._largest, int(TARGET / self._seconds))
        if self._bytes:
            aim = min(aim, int(LARGEST_BYTES / self._bytes))
        return max(aim, 1)
