"""Bound the queue before a stage by what it will consume soon, and by bytes (backpressure).

Plain arithmetic on the number of items in a stage's chunks, and the sizes
of recent items.
"""

from __future__ import annotations

from collections.abc import Callable

from nbpar.core.outcome import Part
from nbpar.core.sizes import estimated_bytes
from nbpar.wire.packed_items import PackedItems

MOST_BYTES = 64 << 20
"""Maximal bytes in one queue, unless the minimal number of items has more."""

Reader = Callable[[], int]
"""Returns how many items a stage would take soon."""


class LookAhead:
    """Look-ahead of the stages that read from one source.

    Args:
        least: items that must be able to wait, so that batches fill up and all workers can run.
        whole: room in items, unless they are large, so that complete batches are available.
        under_way: items among these that have not arrived yet.
    """

    def __init__(self, least: int, *, whole: int = 0, under_way: int = 0) -> None:
        self._least = least
        self._whole = whole
        self._under_way = under_way
        self._readers: list[Reader] = []
        self._each = 0.0
        """Estimated bytes per item."""

    def of(self, reader: Reader) -> None:
        """Add a stage that reads from here."""
        self._readers.append(reader)

    def weigh(self, part: Part) -> None:
        """Record the sizes of items entering the queue."""
        self._each = max(_bytes_of_one(part), 0.9 * self._each)

    def bound(self, most: int) -> int:
        """Return how many items may be queued or in transit here; more than `most` are never useful."""
        wanted = self._under_way + min(reader() for reader in self._readers)
        number = min(max(most, self._whole), wanted)
        if self._each:
            number = min(number, int(MOST_BYTES / self._each))
        return max(number, self._least)


def _bytes_of_one(part: Part) -> float:
    values = part.values
    if isinstance(values, PackedItems):
        return values.packed.nbytes / len(values)
    return estimated_bytes(values[-1], depth=1)
