"""Items that stay bytes on their way from one worker to another.

What passes through here is cut and joined as bytes; an item is unpickled only when somebody
looks at it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

from nbpar.wire.pickling import Packed, unpack


class Unreadable:
    """Stands for an item that cannot be unpickled here."""

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def __repr__(self) -> str:
        return f"<an item that cannot be unpickled here: {self.reason}>"


class PackedItems(Sequence[Any]):
    """A sequence over objects that were packed one by one.

    Slices are bytes again.  Looking at a single item unpickles it and never raises.
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
        return Unreadable(str(errors[0])) if errors else values[0]

    def _cut(self, start: int, stop: int) -> PackedItems:
        head, layout, buffers = self.packed
        assert layout is not None
        first_byte = sum(size for size, _ in layout[:start])
        first_buffer = sum(count for _, count in layout[:start])
        own = layout[start:stop]
        last_byte = first_byte + sum(size for size, _ in own)
        last_buffer = first_buffer + sum(count for _, count in own)
        return PackedItems(Packed(head[first_byte:last_byte], own, buffers[first_buffer:last_buffer]))


def chain_items(pieces: Sequence[Sequence[Any]]) -> Sequence[Any]:
    """Join pieces of items; what is packed in all of them stays packed."""
    if len(pieces) == 1:
        return pieces[0]
    if not all(isinstance(piece, PackedItems) for piece in pieces):
        return [item for piece in pieces for item in piece]
    every = [piece.packed for piece in pieces if isinstance(piece, PackedItems)]
    return PackedItems(
        Packed(
            b"".join(packed.head for packed in every),
            tuple(entry for packed in every for entry in packed.layout or ()),
            [buffer for packed in every for buffer in packed.buffers],
        )
    )
