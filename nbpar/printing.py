"""Show what items printed, labelled, in the thread that waits for the run."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TextIO

TOTAL = 200_000
"""Characters that one run shows; the rest is counted."""


class Printer:
    """Writes labelled lines to this process's own streams."""

    def __init__(self) -> None:
        self._written = 0
        self._cut = 0
        self._column: dict[str, int | None] = {}

    def show(self, printed: Iterable[tuple[int, str, str]]) -> None:
        """Write pieces of output: index of the item, stream, text."""
        for index, stream, text in printed:
            if self._written >= TOTAL:
                self._cut += len(text)
                continue
            self._written += len(text)
            self._write(index, stream, text)

    def close(self) -> None:
        """End open lines; say what was left out.  May be called twice."""
        for stream, open_item in self._column.items():
            if open_item is not None:
                self._stream(stream).write("\n")
        self._column.clear()
        if self._cut:
            sys.stderr.write(f"... {self._cut} more characters of output were left out\n")
        self._cut = 0

    def _write(self, index: int, stream: str, text: str) -> None:
        out = self._stream(stream)
        open_item = self._column.get(stream)
        pieces = text.splitlines(keepends=True)
        for piece in pieces:
            if open_item is not None and open_item != index:
                out.write("\n")
                open_item = None
            label = "" if open_item == index else f"[{index}] "
            out.write(label + piece)
            open_item = None if piece.endswith("\n") else index
        self._column[stream] = open_item

    @staticmethod
    def _stream(name: str) -> TextIO:
        return sys.stderr if name == "stderr" else sys.stdout
