"""How far a sender may go on, and the short items that it puts together."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from nbpar.worker.payload import SHORT

MANY = 128
"""Items that are sent together at most."""


class Room:
    """What one end may still send.  `lock`, its outbox's, guards everything else here.

    While `batch` is there it is the last message of the outbox: short items up to `limit` may join
    it, which costs no more than that.  They are taken off the room when it is closed.
    """

    def __init__(self, lock: AbstractContextManager[Any], items: int, nbytes: int) -> None:
        self.lock = lock
        self.batch: list[Any] | None = None
        self.limit = 0
        self._items, self._bytes = items, nbytes

    @property
    def left(self) -> bool:
        """Whether something may be sent."""
        return self._items > 0 and self._bytes > 0

    def claim(self, nbytes: int) -> bool:
        """Take one item's place, if there is one."""
        if not self.left:
            return False
        self._items -= 1
        self._bytes -= nbytes
        return True

    def grant(self, items: int, nbytes: int) -> None:
        """Give back what the other side has taken."""
        self._items += items
        self._bytes += nbytes

    def open(self, batch: list[Any]) -> None:
        """Let short items join a batch whose first one has its place."""
        self.batch = batch
        self.limit = 1 + max(0, min(MANY - 1, self._items, self._bytes // SHORT))

    def close(self) -> int:
        """Let nothing join any more; return how many have."""
        if self.batch is None:
            return 0
        joined = len(self.batch) - 1
        self.batch = None
        self._items -= joined
        self._bytes -= joined * SHORT
        return joined
