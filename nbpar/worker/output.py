"""Record what items print, by item, bounded.

While the loop lives, `sys.stdout` and `sys.stderr` are recorders.  What is printed within
`DELAY` seconds goes out together; more than `PER_ITEM` characters of one item are counted
and left out.
"""

from __future__ import annotations

import io
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self

PER_ITEM = 20_000
"""Characters of one item that are kept."""

DELAY = 0.2
"""Seconds between two sendings while one item goes on printing."""

Lines = tuple[tuple[int, str, str], ...]


class Recorder(io.TextIOBase):
    """A text stream that notes which item wrote what."""

    def __init__(self, name: str, note: Callable[[str, str], None]) -> None:
        self._name = name
        self._note = note

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self._note(self._name, str(text))
        return len(text)


class OutputRecorder:
    """The recorders of a loop, for the length of a `with` block."""

    def __init__(self, index: Callable[[], int], send: Callable[[Lines], None]) -> None:
        self._index = index
        self._send = send
        self._lock = threading.RLock()
        self._lines: list[tuple[int, str, str]] = []
        self._sizes: dict[int, int] = {}
        self._sent = 0.0
        self._owner = threading.get_ident()

    def __enter__(self) -> Self:
        self._before: tuple[Any, Any] = (sys.stdout, sys.stderr)
        sys.stdout, sys.stderr = Recorder("stdout", self._note), Recorder("stderr", self._note)
        return self

    def __exit__(self, *exc_info: object) -> None:
        sys.stdout, sys.stderr = self._before

    def take(self) -> Lines:
        """Return what was written since the last time."""
        if not self._lines:
            return ()
        with self._lock:
            lines, self._lines = self._merged(), []
        self._sent = time.monotonic()
        return lines

    def end_call(self) -> None:
        """Forget how much the items of the last call have written."""
        self._sizes.clear()

    def _note(self, stream: str, text: str) -> None:
        index = self._index()
        with self._lock:
            size = self._sizes.get(index, 0)
            self._sizes[index] = size + len(text)
            if size < PER_ITEM:
                kept = text[: PER_ITEM - size]
                self._lines.append((index, stream, kept))
                if len(kept) < len(text):
                    self._lines.append((index, stream, f"\n... (output cut at {PER_ITEM} characters)\n"))
        if (
            threading.get_ident() == self._owner
            and time.monotonic() - self._sent > DELAY
            and (lines := self.take())
        ):
            self._send(lines)

    def _merged(self) -> Lines:
        """Join neighbouring pieces: `print` writes its text and its newline one by one."""
        merged: list[tuple[int, str, str]] = []
        for index, stream, text in self._lines:
            if merged and merged[-1][:2] == (index, stream):
                merged[-1] = (index, stream, merged[-1][2] + text)
            else:
                merged.append((index, stream, text))
        return tuple(merged)
