"""Assign workers to rows of a picture; a newcomer takes the row of one that has left.

Workers that die are replaced, and others are recycled after some items.  With a row for each of them
the picture of four workers would soon show twenty former ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from nbpar.core.lanes import Lane

DETAILED = 16
"""Number of rows up to which the card has a line of text for each."""

MOST = 256
"""Maximal number of rows of a card."""


class Seat(NamedTuple):
    """A row of a picture."""

    place: int
    """Its number, which never changes."""

    lane: Lane
    """Its current or last worker."""

    done: int
    """Number of items done, summed over its workers."""


class Seats:
    """The rows of one run's workers; each worker gets one."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}
        self._workers: list[list[str]] = []
        self._done: list[int] = []  # of the row's earlier workers
        self._order: list[int] = []

    def __getitem__(self, worker: str) -> int:
        """Return a worker's row."""
        return self._places[worker]

    def before(self, place: int) -> str:
        """Name of the row's previous worker; "" if there was none."""
        workers = self._workers[place]
        return workers[-2] if len(workers) > 1 else ""

    def take(self, lanes: Sequence[Lane]) -> list[Seat]:
        """Assign new workers to rows, each to the one vacated first; return all rows.

        Rows are ordered by their first workers: `engine 2` before `engine 10`.
        """
        known = {lane.worker: lane for lane in lanes}
        new = [lane for lane in lanes if not self._is_seated(lane)]
        if new:
            self._seat(new, known)
            self._order = sorted(
                range(len(self._workers)), key=lambda place: natural(self._workers[place][0])
            )
        lanes_of = ((place, known[self._workers[place][-1]]) for place in self._order)
        return [Seat(place, lane, self._done[place] + lane.done) for place, lane in lanes_of]

    def _is_seated(self, lane: Lane) -> bool:
        """Whether a worker has a row; a returning worker may find its own taken."""
        place = self._places.get(lane.worker)
        return place is not None and (lane.gone is not None or self._workers[place][-1] == lane.worker)

    def _seat(self, new: Iterable[Lane], known: dict[str, Lane]) -> None:
        free = [
            (lane.gone, place)
            for place, workers in enumerate(self._workers)
            if (lane := known[workers[-1]]).gone is not None
        ]
        heapify(free)
        for lane in sorted(new, key=lambda lane: (lane.joined, natural(lane.worker))):
            place = len(self._workers)
            if free and _follows(lane, known[self._workers[free[0][1]][-1]]):
                place = heappop(free)[1]
                self._done[place] += known[self._workers[place][-1]].done
                self._workers[place].append(lane.worker)
            else:
                self._workers.append([lane.worker])
                self._done.append(0)
            self._places[lane.worker] = place
            if lane.gone is not None:
                heappush(free, (lane.gone, place))


def _follows(lane: Lane, other: Lane) -> bool:
    """Whether a worker arrived after another had gone; workers that arrived together are no replacements."""
    return other.gone is not None and other.joined < lane.joined and other.gone <= lane.joined


def shown(seats: Sequence[Seat]) -> list[Seat]:
    """Return the rows to show: those of present workers, then those vacated last."""
    here = sum(seat.lane.gone is None for seat in seats)
    room = max((DETAILED if here <= DETAILED else MOST) - here, 0)
    gone = sorted(
        (seat for seat in seats if seat.lane.gone is not None), key=lambda seat: -(seat.lane.gone or 0.0)
    )
    kept = {seat.place for seat in gone[:room]}
    return [seat for seat in seats if seat.lane.gone is None or seat.place in kept][:MOST]


@lru_cache(maxsize=4096)
def natural(name: str) -> tuple[tuple[str, int], ...]:
    """Return a sort key for names that orders numbers in them by value."""
    return tuple((text, int(number or 0)) for text, number in re.findall(r"(\D*)(\d{0,9})", name))
