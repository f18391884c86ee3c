"""Items that wait in index order, and between them outcomes that no stage touches any more.

These are failures of items that got lost on the way, and results of an earlier run.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from nbpar.core.outcome import KnownPart, Part
from nbpar.wire.packed_items import chain_items


@dataclass(slots=True)
class _Stretch:
    """Items with nothing missing between them."""

    pieces: deque[Sequence[Any]] = field(default_factory=deque)
    count: int = 0

    def put(self, piece: Sequence[Any]) -> None:
        self.pieces.append(piece)
        self.count += len(piece)

    def take(self, number: int) -> Sequence[Any]:
        """Take that many items, which have to be there."""
        self.count -= number
        taken = []
        while number:
            piece = self.pieces.popleft()
            if len(piece) > number:
                self.pieces.appendleft(piece[number:])
                piece = piece[:number]
            taken.append(piece)
            number -= len(piece)
        return chain_items(taken)


class Backlog:
    """A queue of items that keeps their indices."""

    def __init__(self) -> None:
        self.batch: int | None = None
        """Items are handed out in batches of this size, which begin at multiples of it; a batch is
        shorter only where an item is missing or the input ends.
        """

        self._entries: deque[_Stretch | Part] = deque()
        self._head = 0
        self.size = 0
        """All that waits."""

    @property
    def ready(self) -> int:
        """Items that can be taken one after another."""
        first = self._entries[0] if self._entries else None
        return first.count if isinstance(first, _Stretch) else 0

    def put(self, part: Part) -> None:
        """Append the outcomes of the next items."""
        self.size += len(part.values)
        if isinstance(part, KnownPart):
            self._entries.append(part)
            return
        start = part.first
        for index in sorted(part.failures):
            self._put_items(part.values[start - part.first : index - part.first])
            self._entries.append(Part(index, [None], {index: part.failures[index]}))
            start = index + 1
        self._put_items(part.values[start - part.first :] if start > part.first else part.values)

    def known(self) -> Part | None:
        """Take the outcomes that are next and final, if some are."""
        if not self._entries or not isinstance(first := self._entries[0], Part):
            return None
        self._entries.popleft()
        self._head = first.stop
        self.size -= len(first.values)
        return first

    def drop(self) -> int:
        """Leave out what is next, an item or outcomes that are final; return how many items these were."""
        if (part := self.known()) is not None:
            return len(part.values)
        return len(self._take(1))

    def take(self, limit: int, *, eager: bool, over: bool) -> Sequence[Any]:
        """Take up to `limit` items, as a `Source` does; `over`: nothing will be put any more."""
        ready = self.ready
        complete = over or len(self._entries) > 1
        wanted = limit if self.batch is None else self.batch - self._head % self.batch
        number = min(wanted, ready)
        short = number < wanted and not complete and (self.batch is not None or not eager)
        if not number or number > limit or short:
            return ()
        return self._take(number)

    def _take(self, number: int) -> Sequence[Any]:
        stretch = self._entries[0]
        assert isinstance(stretch, _Stretch)
        items = stretch.take(number)
        if not stretch.count:
            self._entries.popleft()
        self._head += number
        self.size -= number
        return items

    def _put_items(self, items: Sequence[Any]) -> None:
        if not len(items):
            return
        if not self._entries or isinstance(self._entries[-1], Part):
            self._entries.append(_Stretch())
        last = self._entries[-1]
        assert isinstance(last, _Stretch)
        last.put(items)
