"""Count what has come in lots, each of which is worth telling the sender when it has been taken."""

from __future__ import annotations

from collections import deque


class Lots:
    """A lot is full with half of what the sender may be ahead: so much it learns at once."""

    def __init__(self, items: int, nbytes: int) -> None:
        self._most_items, self._most_bytes = items, nbytes
        self._came = 0
        self._items = self._bytes = 0
        """What is in the lot that is not full yet."""

        self._full: deque[tuple[int, int, int]] = deque()
        """How many had come when it was full, and its items and bytes."""

    def add(self, items: int, nbytes: int) -> None:
        """So much has come."""
        self._came += items
        self._items += items
        self._bytes += nbytes
        if 2 * self._items >= self._most_items or 2 * self._bytes >= self._most_bytes:
            self._full.append((self._came, self._items, self._bytes))
            self._items = self._bytes = 0

    @property
    def mark(self) -> int:
        """When no more items than this are left, a full lot has been taken; -1: none can be."""
        return self._came - self._full[0][0] if self._full else -1

    def taken(self, left: int) -> tuple[int, int]:
        """Return items and bytes of the full lots that have been taken, when so many items are left."""
        items = nbytes = 0
        while left <= self.mark:
            _, more_items, more_bytes = self._full.popleft()
            items += more_items
            nbytes += more_bytes
        return items, nbytes
