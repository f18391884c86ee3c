"""Keys of a run's items: by content and, for equal items, by occurrence number."""

from __future__ import annotations

import marshal
from collections.abc import Sequence
from typing import Any

from nbpar.journal.digest import PLAIN, SIZE, NoDigestError, digest_of


class Keys:
    """Keys of items in input order: by content and, for equal items, by occurrence number.

    With `by_index` by content and position in the input, on which results with a seed depend.
    """

    def __init__(self, *, by_index: bool) -> None:
        self._by_index = by_index
        self._index = 0
        self._seen: set[int] = set()
        self._again: dict[bytes, int] = {}

    def of(self, items: Sequence[Any]) -> list[bytes | None]:
        """Return the keys of the next items; None for one that cannot be pickled."""
        make = self._with_index if self._by_index else self._with_count
        return [None if (content := _content(item)) is None else make(content) for item in items]

    def _with_index(self, content: bytes) -> bytes:
        self._index += 1
        return content + self._index.to_bytes(8, "big")

    def _with_count(self, content: bytes) -> bytes:
        mark = hash(content)  # only a hash: there may be millions
        if mark not in self._seen:
            self._seen.add(mark)
            return content
        self._again[content] = again = self._again.get(content, 0) + 1
        return content + again.to_bytes(8, "big")


def _content(item: Any) -> bytes | None:
    """Return a key for an item's content: a unique text if that is short, or its digest."""
    if type(item) in PLAIN:
        words = marshal.dumps(item, 2)
        if len(words) < SIZE:
            return words
    try:
        return digest_of(item)
    except NoDigestError:
        return None
