"""A queue of items in index order, with outcomes that pass a stage untouched.

These are failures in earlier stages, and results of an earlier run.
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
    """Consecutive items without gaps."""

    pieces: deque[Sequence[Any]] = field(default_factory=deque)
    count: int = 0

    def put(self, piece: Sequence[Any]) -> None:
        self.pieces.append(piece)
        self.count += len(piece)

    def take(self, number: int) -> Sequence[Any]:
        """Take that many items, which must be available."""
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
        """Items are handed out in batches of this size, which start at multiples of it; a batch is
        shorter only where an item is missing or the input ends.
        """

        self._entries: deque[_Stretch | Part] = deque()
        self._head = 0
        self.size = 0
        """Number of waiting items and outcomes."""

    @property
    def ready(self) -> int:
        """Number of consecutive items that can be taken."""
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
        """Take the next outcomes if they are final."""
        if not self._entries or not isinstance(first := self._entries[0], Part):
            return None
        self._entries.popleft()
        self._head = first.stop
        self.size -= len(first.values)
        return first

    def drop(self) -> int:
        """Skip the next item, or final outcomes; return their number."""
        if (part := self.known()) is not None:
            return len(part.values)
        return len(self._take(1))

    def take(self, limit: int, *, eager: bool, over: bool) -> Sequence[Any]:
        """Take up to `limit` items, as a `Source` does; `over`: nothing more will be put."""
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
