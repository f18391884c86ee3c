"""Record the output of items: by item, in order, bounded.

More than `PER_ITEM` characters of text of one item, or `SHOWN_PER_ITEM` bytes of rich
displays, are counted and omitted; the amount is reported when the call is over.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from nbpar.core.call_style import CallStyle
from nbpar.core.text import without_surrogates
from nbpar.worker.output.plain import as_text, plain_stray

if TYPE_CHECKING:
    from nbpar.wire.faults import Fault
    from nbpar.wire.messages import Call

PER_ITEM = 20_000
"""Maximal number of characters of one item's text that are kept."""

SHOWN_PER_ITEM = 4 << 20
"""Maximal bytes of one item's displays that are kept."""

DELAY = 0.2
"""Seconds between two messages with output while one item continues to print."""

NOTHING = -1
"""The index between items.  Indices of items are not negative; smaller ones belong to channels."""

DESCRIPTORS = {"stdout": 1, "stderr": 2}

Piece = tuple[int, str, Any]
"""Index of the item, kind, content.

Kinds are the streams `stdout` and `stderr` (content: text), `display`, `update` and `clear`,
`log`, `warning` (each a dict), and `cut` (a sentence about omitted output).
"""

Pieces = tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class ItemId:
    """An item as its worker knows it."""

    run: int
    """Number of its run; `NOTHING` for a call that is no item of a map."""

    call: int
    """Number of its call."""

    index: int
    """Its index, as in `Piece`."""

    @classmethod
    def of(cls, call: Call, index: int) -> ItemId:
        """Return that of one of a call's items."""
        return cls(NOTHING if call.spread == CallStyle.CALL else call.run, call.id, index)


class Numbered(Protocol):
    """Current work with an index."""

    @property
    def index(self) -> int:
        """Index of the current item."""

    @property
    def item_id(self) -> ItemId | None:
        """The current item; None for what is no item, as an initializer."""


class OutputRecorder:
    """The output of the items of one loop.

    Args:
        index: returns the current item's index; `NOTHING` if there is none.
        send: gets pieces while an item runs, in the thread that made the recorder.
        far: the pieces are shown by another process, so they contain plain values only.
        running: returns the current item; None if there is none, or something else runs.
        send_late: gets output of an item that is over, in any thread; None: nothing takes it.
    """

    def __init__(
        self,
        index: Callable[[], int],
        send: Callable[[Pieces], None] | None = None,
        *,
        far: bool = False,
        running: Callable[[], ItemId | None] = lambda: None,
        send_late: Callable[[int, Piece], None] | None = None,
    ) -> None:
        self.far = far
        self.running = running
        self._send_late = send_late
        self.bars: Any = None
        """Where progress bars of items are noted (`bars.InnerBars`); None if nothing shows them."""

        self.outer_item: ItemId | None = None
        """The item whose bars they count as, if that is not the one that runs: of a map inside an item."""

        self.before: Callable[[], None] | None = None
        """Called first by `put`, so that earlier output to the descriptors keeps its place."""

        self._index = index
        self._send = send
        self._lock = threading.RLock()
        self._pieces: list[Piece] = []
        self._sizes: Counter[tuple[int, bool]] = Counter()
        self._sent = 0.0
        self._owner = threading.get_ident()
        self._pid = os.getpid()

    @property
    def item(self) -> int:
        """Index of the current item; `NOTHING` if there is none."""
        return self._index()

    def put(self, kind: str, content: Any, index: int | None = None) -> None:
        """Record output of the running item, or another one."""
        if os.getpid() != self._pid:
            _write_below(*as_text(kind, content))
            return
        if self.before is not None:
            self.before()
        self.note(kind, content, index)

    def takes_late(self, item: ItemId) -> bool:
        """Whether output of an item that is over is sent, for its run to show it."""
        return self._send_late is not None and item.run != NOTHING and os.getpid() == self._pid

    def put_late(self, item: ItemId, kind: str, content: Any) -> None:
        """Send output of an item that is over."""
        if self._send_late is not None:
            if isinstance(content, str):
                content = without_surrogates(content)
            self._send_late(item.run, (item.index, kind, content))

    def note(self, kind: str, content: Any, index: int | None = None) -> Any:
        """Record output of the running item, or another one.

        Returns the part that was kept; None if it was too much.
        """
        index = self._index() if index is None else index
        if index < NOTHING:
            kind, content = as_text(kind, content)
        if isinstance(content, str):
            content = without_surrogates(content)  # no stream, file or Jupyter message can encode them
        size, rich = size_of(kind, content), kind in ("display", "update")
        with self._lock:
            had = self._sizes[index, rich]
            self._sizes[index, rich] = had + size
            room = max(0, (SHOWN_PER_ITEM if rich else PER_ITEM) - had)
            kept = content if size <= room else None
            if size > room > 0 and isinstance(content, str):
                kept = content[:room]
            if kept is not None:
                self._pieces.append((index, kind, kept))
        self._send_now_and_then()
        return kept

    def take(self, *, over: bool = False) -> Pieces:
        """Return the output since the last call; when the call is over, also the omitted amount."""
        if not self._sizes:
            return ()
        with self._lock:
            pieces, self._pieces = _merged(self._pieces), []
            ended = [place for place in self._sizes if over or place[0] < NOTHING]
            for place in sorted(ended):
                pieces += _cut(*place, self._sizes.pop(place))
        self._sent = time.monotonic()
        return tuple(pieces)

    def _send_now_and_then(self) -> None:
        if (
            self._send is not None
            and threading.get_ident() == self._owner
            and time.monotonic() - self._sent > DELAY
            and (pieces := self.take())
        ):
            self._send(pieces)


class FollowingRecorder(OutputRecorder):
    """Records the output of the items of successive calls, without showing it."""

    def __init__(self, worker: str) -> None:
        super().__init__(self._running, running=self._running_item)
        self.worker = worker
        self._call: Numbered | None = None

    def follow(self, call: Numbered | None) -> None:
        """Set the current call; None: there is none."""
        self._call = call

    def end_lines(self) -> None:
        """Complete open lines, because others will print."""

    def _running(self) -> int:
        return self._call.index if self._call is not None else NOTHING

    def _running_item(self) -> ItemId | None:
        return self._call.item_id if self._call is not None else None


def tell_strays(faults: Iterable[Fault], recorder: OutputRecorder) -> None:
    """Record a warning about each exception outside of items."""
    for fault in faults:
        recorder.note("warning", plain_stray(fault), NOTHING)


def size_of(kind: str, content: Any) -> int:
    """Return the size of a piece: characters of text, bytes of a display."""
    if isinstance(content, str):
        return len(content)
    if kind in ("display", "update"):
        return sum(len(part) if isinstance(part, str | bytes) else 100 for part in content["data"].values())
    return 200 + len(str(content.get("msg", content.get("text", "")))) if isinstance(content, dict) else 200


def _cut(index: int, rich: bool, size: int) -> list[Piece]:
    """Describe the omitted output."""
    limit = SHOWN_PER_ITEM if rich else PER_ITEM
    if size <= limit:
        return []
    what = "bytes were displayed" if rich else "characters were printed"
    said = f"... {size} {what} here; what is over {limit} was left out"
    return [(index, "cut", said) if index > NOTHING else (index, "stderr", f"{said}\n")]


def _merged(pieces: list[Piece]) -> list[Piece]:
    """Join neighboring pieces of text: `print` writes its text and its newline one by one."""
    merged: list[Piece] = []
    for piece in pieces:
        if merged and merged[-1][:2] == piece[:2] and isinstance(piece[2], str):
            merged[-1] = (*piece[:2], merged[-1][2] + piece[2])
        else:
            merged.append(piece)
    return merged


def _write_below(stream: str, text: str) -> None:
    """In a child forked by the item: only the descriptors lead back to the worker."""
    with suppress(OSError):
        os.write(DESCRIPTORS[stream], text.encode(errors="replace"))
