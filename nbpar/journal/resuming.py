"""A run that continues an earlier one: items with stored results are not computed again."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

from nbpar.core.events import Event, ItemsKnown
from nbpar.core.outcome import Part
from nbpar.core.scheduling.runstate import RunState
from nbpar.core.source import Source
from nbpar.dispatch.job import Job, Sink
from nbpar.journal.identity import identify
from nbpar.journal.journal import Journal
from nbpar.journal.keys import Keys
from nbpar.journal.reader import Row

BATCH = 256
"""Items per lookup."""

TURN = 0.05
"""Seconds of delivering known results before other runs get their turn."""

STEP = 8192
"""Maximal number of items whose keys are computed at once: more would delay other runs."""

AHEAD = 1024
"""Known results of a stream that may wait to be consumed, by default."""


def journal(job: Job, name: str, wake: Callable[[], None]) -> None:
    """Let a job deliver the results in a journal, and store those that it computes.

    Raises:
        JournalError: the journal cannot be used.
    """
    identity = identify(job.function, spread=job.spread.value, seed=job.seed)
    book = Journal.open(name, identity)
    state = job.state
    items = JournalledItems(
        book, state.source, partial(room, state), job.sink.emit, wake, Keys(by_index=job.seed is not None)
    )
    job.state.source, job.state.known, job.keep = items, items.known, items.keep
    job.sink = _ClosingSink(job.sink, book)


def room(state: RunState, following: int) -> int:
    """The consumer's room for known results from an index on."""
    if not state.streaming:
        return BATCH
    return max(0, state.consumed + (state.buffersize or AHEAD) - following)


class JournalledItems:
    """A source without items whose results are known.  Belongs to the dispatcher's thread."""

    def __init__(
        self,
        book: Journal,
        items: Source,
        room: Callable[[int], int],
        emit: Callable[[Event], None],
        wake: Callable[[], None],
        keys: Keys,
    ) -> None:
        self._book = book
        self._items = items
        self._room_from = room
        self._emit = emit
        self._wake = wake
        self._keys = keys
        self._ahead: deque[tuple[Any, bytes | None, Row | None]] = deque()
        """Items that were looked up, each with its key and its result."""

        self._next = 0
        self._under_way: dict[int, bytes] = {}
        """Keys of the items being computed, by index."""

        self._turn: float | None = None

    # ---- as a source

    @property
    def ended(self) -> bool:
        return self._items.ended and not self._ahead

    @property
    def remaining(self) -> int | None:
        left = self._items.remaining
        return None if left is None else left + len(self._ahead)

    @property
    def ready(self) -> bool:
        return self._ahead[0][2] is None if self._ahead else self._items.ready

    @property
    def error(self) -> BaseException | None:
        """What the user's iterable raised."""
        return self._items.error

    @property
    def reading(self) -> float:
        """Seconds that reading the user's input has taken."""
        return self._items.reading

    def take(self, limit: int, *, eager: bool) -> Sequence[Any]:
        limit = min(limit, STEP)
        if not self._book.known:
            items = self._items.take(limit, eager=eager)
            for key in self._keys.of(items):
                self._note(key)
            return items
        if not self._ahead:
            self._look_up(limit, eager=eager)
        taken: list[Any] = []
        while self._ahead and len(taken) < limit and self._ahead[0][2] is None:
            item, key, _ = self._ahead.popleft()
            taken.append(item)
            self._note(key)
        if self._ahead and not taken:
            self._wake()  # known results follow, and are delivered in the next step
        return taken

    def want(self, total: int) -> None:
        self._items.want(max(total, self._next + min(BATCH, self._room())) if self._book.known else total)

    def close(self) -> None:
        """Read no more of the input."""
        self._items.close()

    # ---- known results

    def known(self) -> Part | None:
        """Return the known results of the next items, a batch at a time."""
        if not self._book.known or not self._in_turn():
            return None
        if not self._ahead:
            self._look_up(BATCH, eager=True)
        values: list[Any] = []
        ahead, value_of, most = self._ahead, self._book.value, min(BATCH, self._room())
        while len(values) < most and ahead and (row := ahead[0][2]) is not None:
            try:
                values.append(value_of(row))
            except LookupError:  # damaged, or of a type that no longer exists: it is computed
                ahead[0] = (*ahead[0][:2], None)
            else:
                ahead.popleft()
        if not values:
            self._turn = None
            return None
        part = Part(self._next, values)
        self._next = part.stop
        self._emit(ItemsKnown(time.monotonic(), part.first, len(values)))
        return part

    def keep(self, first: int, values: Sequence[Any], failed: Collection[int]) -> None:
        """Take the outcomes of neighboring items; `failed` are the positions of those without a value."""
        keys = self._under_way
        self._book.add([
            (keys.pop(first + place), value)
            for place, value in enumerate(values)
            if place not in failed and first + place in keys
        ])  # fmt: skip

    def _look_up(self, limit: int, *, eager: bool) -> None:
        items = self._items.take(limit, eager=eager)
        keys = self._keys.of(items)
        self._ahead.extend(zip(items, keys, self._book.find(keys), strict=True))

    def _note(self, key: bytes | None) -> None:
        if key is not None:
            self._under_way[self._next] = key
        self._next += 1

    def _room(self) -> int:
        return self._room_from(self._next)

    def _in_turn(self) -> bool:
        """Whether to continue in this step of the dispatcher."""
        now = time.monotonic()
        if self._turn is None:
            self._turn = now
        if now - self._turn < TURN:
            return True
        self._turn = None
        self._wake()
        return False


class _ClosingSink:
    """Passes all events on, and closes a journal before the end."""

    def __init__(self, sink: Sink, book: Journal) -> None:
        self._sink = sink
        self._book = book
        self.deliver = sink.deliver
        self.emit = sink.emit

    def finish(self, error: BaseException | None) -> None:
        try:
            self._book.close()
        finally:
            self._sink.finish(error)
