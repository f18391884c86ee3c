"""Name the items of a run by what they are."""

from __future__ import annotations

import marshal
from collections.abc import Sequence
from typing import Any

from nbpar.journal.digest import PLAIN, SIZE, NoDigestError, digest_of


class Keys:
    """Keys of items in input order: by content, and the how-manieth of equal ones.

    With `by_index` the place in the input counts instead: with a seed it is part of what an item is.
    """

    def __init__(self, *, by_index: bool) -> None:
        self._by_index = by_index
        self._index = 0
        self._seen: set[int] = set()
        self._again: dict[bytes, int] = {}

    def of(self, items: Sequence[Any]) -> list[bytes | None]:
        """Return the keys of the next items; None for one that cannot be pickled, which has no key."""
        make = self._with_index if self._by_index else self._with_count
        return [None if (content := _content(item)) is None else make(content) for item in items]

    def _with_index(self, content: bytes) -> bytes:
        self._index += 1
        return content + self._index.to_bytes(8, "big")

    def _with_count(self, content: bytes) -> bytes:
        mark = hash(content)  # not all of it: there may be millions
        if mark not in self._seen:
            self._seen.add(mark)
            return content
        self._again[content] = again = self._again.get(content, 0) + 1
        return content + again.to_bytes(8, "big")


def _content(item: Any) -> bytes | None:
    """Name an item: in its own words where these are short, which no two items share, or by its digest."""
    if type(item) in PLAIN:
        words = marshal.dumps(item, 2)
        if len(words) < SIZE:
            return words
    try:
        return digest_of(item)
    except NoDigestError:
        return None
