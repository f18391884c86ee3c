"""Neighbouring items that are sent together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

PIECES = 64
"""A chunk that killed its worker comes back in at most so many pieces."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Neighbouring items that are sent together."""

    first: int
    """Index of the first item."""

    items: Sequence[Any]

    attempt: int = 1
    """How often these items are being tried, this time included."""

    deaths: int = 0
    """How many workers died while they ran one of these items."""

    def head(self, count: int) -> Chunk:
        """Return the chunk's first `count` items."""
        return Chunk(self.first, self.items[:count], self.attempt, self.deaths)

    def rest(self, done: int) -> Chunk:
        """Return the chunk without its first `done` items."""
        return Chunk(self.first + done, self.items[done:], self.attempt, self.deaths)

    def pieces(self) -> list[Chunk]:
        """Cut the chunk, whose worker died, into pieces to be tried again."""
        size = -(-len(self.items) // PIECES)
        return [
            Chunk(self.first + start, self.items[start : start + size], self.attempt, self.deaths + 1)
            for start in range(0, len(self.items), size)
        ]
