"""Keep the pickled items of calls under way, so that none is pickled again when it is sent again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from nbpar.core.chunking import Chunk
from nbpar.core.scheduling.windows import Windows
from nbpar.wire.packed_items import SentItems
from nbpar.wire.pickling import Packed


def keep_pickled(windows: Windows, pickled: Sequence[tuple[int, Packed]]) -> None:
    """Keep the bytes of calls' items with their chunks, by which they are dropped or sent again."""
    for number, packed in pickled:
        if (call := windows.call(number)) is not None:
            call.nbytes = packed.nbytes
            call.chunk = replace(call.chunk, items=SentItems(call.chunk.items, packed))


def without_bytes(chunk: Chunk) -> Chunk:
    """Return a chunk without the bytes of its items, for those who keep some of them."""
    items = chunk.items
    return replace(chunk, items=items.items) if type(items) is SentItems else chunk
