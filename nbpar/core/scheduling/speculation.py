"""Items of a run that several workers have, because one of them is silent: the first outcome counts.

Also known as speculative execution, or backup tasks (Dean and Ghemawat 2004).  A *copy* of an item is
in flight, or waits to be sent.  Plain state, like the run that owns it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from nbpar.core.chunking import Chunk


@dataclass(slots=True)
class _Item:
    copies: int = 1
    """Number of its copies without an outcome."""

    settled: bool = False
    """Whether it has an outcome, so that others are not wanted."""

    deaths: int = 0
    """Number of workers that died while they ran a copy."""

    @property
    def plain(self) -> bool:
        """Whether it is like an item that was never copied."""
        return not self.copies or (self.copies == 1 and not self.settled and not self.deaths)


class Speculation:
    """The items of one run with several copies."""

    def __init__(self) -> None:
        self.items: dict[int, _Item] = {}
        """They, by index; mostly there are none."""

    def add(self, indices: Iterable[int]) -> None:
        """Note that there is one more copy of these items."""
        for index in indices:
            self.items.setdefault(index, _Item()).copies += 1

    def alone(self, indices: Sequence[int]) -> list[range]:
        """Return the ranges of items that have one copy, and may get another."""
        return _ranges(index for index in indices if index not in self.items)

    def unsettled(self, indices: Iterable[int]) -> list[range]:
        """Return the ranges of items without an outcome."""
        return _ranges(index for index in indices if not self._is_settled(index))

    def fresh(self, indices: Sequence[int]) -> list[range]:
        """Return these ranges; the copies of the other items end."""
        ranges = self.unsettled(indices)
        self.end([index for index in indices if self._is_settled(index)])
        return ranges

    def settle(self, indices: Iterable[int]) -> None:
        """Note that these items have their outcomes, from one of their copies; others are not wanted."""
        for index in indices:
            if (item := self.items.get(index)) is not None:
                item.settled = True

    def end(self, indices: Iterable[int]) -> None:
        """Note that one copy of each of these items has ended."""
        for index in indices:
            if (item := self.items.get(index)) is not None:
                item.copies -= 1
                if item.plain:
                    del self.items[index]

    def take_back(self, chunk: Chunk, *, died: bool) -> list[Chunk]:
        """End a chunk's copies that have no outcome; return what has no other copy, and must be run again."""
        deaths, wanted = chunk.deaths, []
        for index in chunk.indices:
            item = self.items.get(index)
            if item is None or (item.copies == 1 and not item.settled):
                wanted.append(index)
                deaths = max(deaths, item.deaths if item is not None else 0)
            elif died:
                item.deaths += 1
        self.end(chunk.indices)
        return [replace(chunk.part(part), deaths=deaths) for part in _ranges(wanted)]

    def _is_settled(self, index: int) -> bool:
        item = self.items.get(index)
        return item is not None and item.settled


def _ranges(indices: Iterable[int]) -> list[range]:
    """Return ascending numbers as ranges of neighbors."""
    ranges: list[range] = []
    for index in indices:
        if ranges and ranges[-1].stop == index:
            ranges[-1] = range(ranges[-1].start, index + 1)
        else:
            ranges.append(range(index, index + 1))
    return ranges
