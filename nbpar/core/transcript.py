"""What the items of a run have put out, until it is shown and as long as somebody may ask.

Plain values and a lock: pieces come from the dispatcher's thread and are taken by the one that
waits for the run.  At most `KEPT` characters and bytes are kept; the rest is counted.
"""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass, replace
from typing import Any

KEPT = 4_000_000
"""Characters of text, and bytes of displays, of one run that are kept."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Something that an item has put out."""

    index: int
    """The item's place in the input; -1: it is about all of them."""

    kind: str
    """`stdout`, `stderr`, `display`, `update`, `clear`, `log`, `warning` or `cut`."""

    content: Any
    """Text, or a dict that depends on the kind."""

    worker: str = ""
    """Where the item ran."""

    shown: bool = False
    """It was shown when it came."""

    @property
    def stream(self) -> str:
        """The stream where it belongs."""
        return "stdout" if self.kind in ("stdout", "display", "update") else "stderr"

    @property
    def text(self) -> str:
        """How it reads."""
        if isinstance(self.content, str):
            return self.content if self.kind in ("stdout", "stderr") else f"{self.content}\n"
        if self.kind in ("display", "update"):
            data = self.content["data"]
            return f"{data.get('text/plain', '<' + ', '.join(data) + '>')}\n"
        if self.kind == "log":
            record = self.content.get("record")
            entry = vars(record) if record is not None else self.content
            return f"{entry['levelname']}:{entry['name']}:{entry['msg']}\n"
        return f"{self.content['kinds'][0][1]}: {self.content['text']}\n" if self.kind == "warning" else ""

    @property
    def size(self) -> int:
        """About how many characters or bytes it takes."""
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
        self._kept: dict[int, list[Piece]] = {}
        self._waiting: dict[int, list[Piece]] = {}
        self._stops: dict[int, int] = {}
        """Where settled neighbours end, by where they begin, while one before them is not settled."""

        self._prefix = 0
        """All items before this index are settled."""

        self._lock = threading.Lock()  # for all of it

    @property
    def waiting(self) -> bool:
        """Whether there is anything that was not taken."""
        return bool(self._waiting)

    def add(self, piece: Piece) -> None:
        """Take in a piece that came after all others of its item."""
        with self._lock:
            if piece.kind == "clear":
                self._kept.pop(piece.index, None)
                self._waiting.pop(piece.index, None)
                return
            self._size += piece.size
            if self._size > KEPT:
                self.left_out += piece.size
                return
            for pieces in (self._kept,) if piece.shown else (self._kept, self._waiting):
                _append(pieces.setdefault(piece.index, []), piece)

    def settle(self, first: int, stop: int) -> None:
        """Take in that neighbouring items have their outcomes: nothing more comes of them."""
        with self._lock:
            self._stops[first] = stop
            while (end := self._stops.pop(self._prefix, None)) is not None:
                self._prefix = end

    def take_settled(self) -> list[Piece]:
        """Take what was not taken before of items that are settled and so are all before them."""
        return self.take(0, self._prefix)

    def take(self, first: int = 0, stop: int = sys.maxsize) -> list[Piece]:
        """Take what was not taken before of these items, in their order, and first what is about none."""
        with self._lock:
            order = sorted(index for index in self._waiting if index < 0 or first <= index < stop)
            return [piece for index in order for piece in self._waiting.pop(index)]

    def text(self, index: int) -> str:
        """Return how everything reads that an item has put out."""
        with self._lock:
            return "".join(piece.text for piece in self._kept.get(index, ()))

    @property
    def pieces(self) -> list[Piece]:
        """Everything, in the order of the items."""
        with self._lock:
            return [piece for index in sorted(self._kept) for piece in self._kept[index]]


def _append(pieces: list[Piece], piece: Piece) -> None:
    """Add a piece; an update takes the place of what it updates, if that was not taken yet."""
    if piece.kind == "update":
        for place, earlier in enumerate(pieces):
            if earlier.kind == "display" and earlier.content["id"] == piece.content["id"]:
                pieces[place] = replace(piece, kind="display")
                return
        piece = replace(piece, kind="display")
    pieces.append(piece)
