"""Output of a run's items, kept within bounds until it is shown.

Plain values and a lock: pieces are added by the dispatcher's thread and taken by the one that
waits for the run.  At most `KEPT` characters and bytes are kept; the rest is counted.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from nbpar.core.outcome import Part
from nbpar.core.text import without_surrogates

KEPT = 4_000_000
"""Characters of text, and bytes of displays, of one run that are kept."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of an item's output."""

    index: int
    """Index of the item; -1: it concerns all of them."""

    kind: str
    """`stdout`, `stderr`, `display`, `update`, `clear`, `log`, `warning` or `cut`."""

    content: Any
    """Text, or a dict that depends on the kind."""

    worker: str = ""
    """Name of the worker."""

    shown: bool = False
    """Whether it was shown on arrival."""

    late: bool = False
    """Whether it came after the end of its item, from a thread that outlives it."""

    @property
    def stream(self) -> str:
        """Its stream."""
        return "stdout" if self.kind in ("stdout", "display", "update") else "stderr"

    @property
    def text(self) -> str:
        """Its text form."""
        if isinstance(self.content, str):
            return self.content if self.kind in ("stdout", "stderr") else f"{self.content}\n"
        if self.kind in ("display", "update"):
            data = self.content["data"]
            return f"{data.get('text/plain', '<' + ', '.join(data) + '>')}\n"
        if self.kind == "log":
            record = self.content.get("record")
            entry = vars(record) if record is not None else self.content
            return without_surrogates(f"{entry['levelname']}:{entry['name']}:{entry['msg']}\n")
        return f"{self.content['kinds'][0][1]}: {self.content['text']}\n" if self.kind == "warning" else ""

    @property
    def size(self) -> int:
        """Its approximate size in characters or bytes."""
        if self.kind in ("display", "update"):
            parts = self.content["data"].values()
            return sum(len(part) if isinstance(part, str | bytes) else 100 for part in parts)
        return len(self.text)


class Transcript:
    """The pieces of a run, by item."""

    def __init__(self) -> None:
        self.left_out = 0
        """Characters and bytes that were not kept."""

        self._size = 0
        """Size of the pieces that are kept."""

        self._kept: dict[int, list[Piece]] = {}
        self._waiting: dict[int, list[Piece]] = {}
        self._stops: dict[int, int] = {}
        """Ends of settled ranges, by their start, that follow an unsettled item."""

        self._late: set[int] = set()
        """Items with late pieces among those not taken."""

        self._prefix = 0
        """All items before this index are settled."""

        self._lock = threading.Lock()  # for all of it

    @property
    def waiting(self) -> bool:
        """Whether there is output not taken yet."""
        return bool(self._waiting)

    def add(self, piece: Piece) -> None:
        """Add a piece; the pieces of an item must be added in order."""
        with self._lock:
            if piece.kind == "clear":
                self._size -= sum(gone.size for gone in self._kept.pop(piece.index, ()))
                self._waiting.pop(piece.index, None)
                return
            kept = self._kept.get(piece.index, [])
            at = _place_of(piece, kept)
            more = piece.size - (kept[at].size if at < len(kept) else 0)
            if self._size + more > KEPT:
                self.left_out += piece.size
                return
            self._size += more
            if piece.late:
                self._late.add(piece.index)
            for pieces in (self._kept,) if piece.shown else (self._kept, self._waiting):
                _put(pieces.setdefault(piece.index, []), piece)

    def settle(self, parts: Iterable[Part]) -> None:
        """Mark items as settled: they have no more output."""
        with self._lock:
            for part in parts:
                self._stops[part.first] = part.stop
            while (end := self._stops.pop(self._prefix, None)) is not None:
                self._prefix = end

    def take_settled(self) -> list[Piece]:
        """Take the remaining output of items that are settled together with all items before them."""
        return self.take(0, self._prefix)

    def take(self, first: int = 0, stop: int = sys.maxsize, *, late: bool = False) -> list[Piece]:
        """Take the remaining output of these items, in their order, after that of no item.

        `late`: that of items with late output, too.
        """
        with self._lock:
            others = self._late if late else ()
            order = sorted(
                index for index in self._waiting if index < 0 or first <= index < stop or index in others
            )
            self._late.difference_update(order)
            return [piece for index in order for piece in self._waiting.pop(index)]

    @property
    def pieces(self) -> list[Piece]:
        """Return all pieces, in the order of the items."""
        with self._lock:
            return [piece for index in sorted(self._kept) for piece in self._kept[index]]


def _put(pieces: list[Piece], piece: Piece) -> None:
    """Append a piece; an update replaces the piece it updates, unless that was taken."""
    at = _place_of(piece, pieces)
    pieces[at : at + 1] = [replace(piece, kind="display") if piece.kind == "update" else piece]


def _place_of(piece: Piece, pieces: list[Piece]) -> int:
    """Return the place of the piece that an update replaces; the end if there is none."""
    if piece.kind == "update":
        for place, earlier in enumerate(pieces):
            if earlier.kind == "display" and earlier.content["id"] == piece.content["id"]:
                return place
    return len(pieces)
