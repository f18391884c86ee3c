"""Items that stay serialized between one worker and another.

Items that pass through are split and joined as bytes; an item is unpickled only when it
is accessed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, overload

from nbpar.core.text import text_of
from nbpar.wire.pickling import Packed, pack_apart, unpack


class UnreadableItem:
    """Placeholder for an item that cannot be unpickled here."""

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def __reduce__(self) -> tuple[Any, ...]:
        return UnreadableItem, (self.reason,)

    def __repr__(self) -> str:
        return f"<an item that cannot be unpickled here: {self.reason}>"


class PackedItems(Sequence[Any]):
    """A sequence of objects that were pickled one by one.

    Slices stay bytes.  Accessing a single item unpickles it and never raises.
    """

    def __init__(self, packed: Packed) -> None:
        assert packed.layout is not None
        self.packed = packed

    def __len__(self) -> int:
        return len(self.packed.layout or ())

    @overload
    def __getitem__(self, place: int) -> Any: ...
    @overload
    def __getitem__(self, place: slice) -> PackedItems: ...
    def __getitem__(self, place: int | slice) -> Any:
        if isinstance(place, slice):
            start, stop, _ = place.indices(len(self))
            return self if (start, stop) == (0, len(self)) else self._cut(start, stop)
        values, errors = unpack(self._cut(place, place + 1).packed)
        return UnreadableItem(text_of(errors[0]) or type(errors[0]).__name__) if errors else values[0]

    def _cut(self, start: int, stop: int) -> PackedItems:
        head, layout, buffers, _ = self.packed
        assert layout is not None
        first_byte = sum(size for size, _ in layout[:start])
        first_buffer = sum(count for _, count in layout[:start])
        own = layout[start:stop]
        last_byte = first_byte + sum(size for size, _ in own)
        last_buffer = first_buffer + sum(count for _, count in own)
        return PackedItems(Packed(head[first_byte:last_byte], own, buffers[first_buffer:last_buffer]))


class SentItems(Sequence[Any]):
    """Items with their bytes, so that what a worker gives back is not pickled again for another.

    They are pickled as they were then: a change to an item after it was sent reaches no worker.
    """

    def __init__(self, items: Sequence[Any], packed: Packed) -> None:
        self.items = items
        self.packed = packed

    def __len__(self) -> int:
        return len(self.items)

    @overload
    def __getitem__(self, place: int) -> Any: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Any]: ...
    def __getitem__(self, place: int | slice) -> Any:
        if not isinstance(place, slice):
            return self.items[place]
        start, stop, _ = place.indices(len(self.items))
        if (start, stop) == (0, len(self.items)):
            return self
        if self.packed.layout is None:
            return self.items[place]  # one pickle of all
        return SentItems(self.items[place], PackedItems(self.packed)[place].packed)


def chain_items(pieces: Sequence[Sequence[Any]]) -> Sequence[Any]:
    """Join pieces of items; packed ones stay packed, and if one is, the others are packed too.

    So an item that only passes through is not unpickled in this process, where that may fail.
    """
    if len(pieces) == 1:
        return pieces[0]
    every = list(_all_packed(pieces)) if any(isinstance(piece, PackedItems) for piece in pieces) else []
    if len(every) < len(pieces):
        return [item for piece in pieces for item in piece]
    return PackedItems(
        Packed(
            b"".join(packed.head for packed in every),
            tuple(entry for packed in every for entry in packed.layout or ()),
            [buffer for packed in every for buffer in packed.buffers],
        )
    )


def _all_packed(pieces: Sequence[Sequence[Any]]) -> Iterator[Packed]:
    """Yield pieces as bytes, up to one that cannot be pickled."""
    for piece in pieces:
        if isinstance(piece, PackedItems):
            yield piece.packed
        elif (made := pack_apart(piece)) is None:
            return
        else:
            yield made
