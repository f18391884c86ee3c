"""How much may wait for the stages that read from one place: what they take soon, not too many bytes.

Plain arithmetic.  Of a stage it is known how many items make a chunk of its work, of items how
large the last ones were.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from nbpar.core.outcome import Part
from nbpar.core.sizes import estimated_bytes
from nbpar.wire.packed_items import PackedItems

MOST_BYTES = 64 << 20
"""Bytes that may wait in one place, unless the least number of items has more."""

Reader = Callable[[], int]
"""Returns how many items a stage would take in the next moments."""


class Appetite:
    """Of the stages that read from one place.

    Args:
        least: items that must be able to wait, so that batches come together and workers need not take turns.
        whole: items for which there is room, large ones aside, so that nobody waits for a batch.
        under_way: of those that wait, items that are only on their way there.
    """

    def __init__(self, least: int, *, whole: int = 0, under_way: int = 0) -> None:
        self._least = least
        self._whole = whole
        self._under_way = under_way
        self._readers: list[Reader] = []
        self._each = 0.0
        """About how many bytes an item has."""

    def of(self, reader: Reader) -> None:
        """Take in a stage that reads here."""
        self._readers.append(reader)

    def weigh(self, part: Part) -> None:
        """Take in how large the items are that come to wait."""
        self._each = max(_bytes_of_one(part), 0.9 * self._each)

    def bound(self, most: int) -> int:
        """Return how many items may wait, or be on their way here, when more than `most` are of no use."""
        wanted = self._under_way + min(reader() for reader in self._readers)
        number = min(max(most, self._whole), wanted)
        if self._each:
            number = min(number, int(MOST_BYTES / self._each))
        return max(number, self._least)


def _bytes_of_one(part: Part) -> float:
    values = part.values
    if isinstance(values, PackedItems):
        return values.packed.nbytes / len(values)
    with suppress(Exception):  # a value may do anything when it is asked for its size
        return estimated_bytes(values[-1], depth=1)
    return 0.0
