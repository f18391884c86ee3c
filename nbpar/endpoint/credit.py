"""Flow control of one sender: remaining credit, coalescing of short items, batched acknowledgments."""

from __future__ import annotations

from collections import deque
from contextlib import AbstractContextManager
from typing import Any

from nbpar.endpoint.payload import SHORT

MANY = 128
"""Maximal number of items sent together."""


class SendWindow:
    """The remaining credit of one end.  `lock`, its outbox's, guards all other fields.

    While `batch` is open it is the last message of the outbox: up to `limit` short items may join
    it at the cost of an append.  Their credit is subtracted when it is closed.
    """

    def __init__(self, lock: AbstractContextManager[Any], items: int, nbytes: int) -> None:
        self.lock = lock
        self.batch: list[Any] | None = None
        self.limit = 0
        self._items, self._bytes = items, nbytes

    @property
    def left(self) -> bool:
        """Whether there is credit."""
        return self._items > 0 and self._bytes > 0

    def claim(self, nbytes: int) -> bool:
        """Claim credit for one item, if available."""
        if not self.left:
            return False
        self._items -= 1
        self._bytes -= nbytes
        return True

    def grant(self, items: int, nbytes: int) -> None:
        """Return credit for consumed items."""
        self._items += items
        self._bytes += nbytes

    def open(self, batch: list[Any]) -> None:
        """Open a batch for short items; its first item has claimed its credit."""
        self.batch = batch
        self.limit = 1 + max(0, min(MANY - 1, self._items, self._bytes // SHORT))

    def close(self) -> int:
        """Close the batch; return the number of items that joined."""
        if self.batch is None:
            return 0
        joined = len(self.batch) - 1
        self.batch = None
        self._items -= joined
        self._bytes -= joined * SHORT
        return joined


class CreditReturn:
    """Credit is returned in batches of half the window."""

    def __init__(self, items: int, nbytes: int) -> None:
        self._most_items, self._most_bytes = items, nbytes
        self._came = 0
        self._items = self._bytes = 0
        """Content of the current, incomplete batch."""

        self._full: deque[tuple[int, int, int]] = deque()
        """For each complete batch: the number of items arrived by then, its items and its bytes."""

    def add(self, items: int, nbytes: int) -> None:
        """Count received items and bytes."""
        self._came += items
        self._items += items
        self._bytes += nbytes
        if 2 * self._items >= self._most_items or 2 * self._bytes >= self._most_bytes:
            self._full.append((self._came, self._items, self._bytes))
            self._items = self._bytes = 0

    @property
    def mark(self) -> int:
        """When this number of items or fewer are left, a full batch has been consumed; -1: none can be."""
        return self._came - self._full[0][0] if self._full else -1

    def taken(self, left: int) -> tuple[int, int]:
        """Return items and bytes of the complete batches consumed, given the number of items left."""
        items = nbytes = 0
        while left <= self.mark:
            _, more_items, more_bytes = self._full.popleft()
            items += more_items
            nbytes += more_bytes
        return items, nbytes
