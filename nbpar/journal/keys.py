"""Name the items of a run by what they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nbpar.journal.digest import NoDigestError, digest_of


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
        return [self._key(item) for item in items]

    def _key(self, item: Any) -> bytes | None:
        self._index += 1
        try:
            content = digest_of(item)
        except NoDigestError:
            return None
        if self._by_index:
            return content + self._index.to_bytes(8, "big")
        mark = int.from_bytes(content[:8], "big")  # half of it: there may be millions
        if mark not in self._seen:
            self._seen.add(mark)
            return content
        self._again[content] = again = self._again.get(content, 0) + 1
        return content + again.to_bytes(8, "big")
