"""Seconds, worker and memory of each item of a run, as its answers tell them."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

from nbpar.core.events import ItemsDone, MemoryMeasured


class _Answer(NamedTuple):
    """Outcomes of neighboring items."""

    first: int
    """Index of the first of them."""

    number: int
    worker: str
    seconds: float
    """Of all of them."""

    each: Sequence[float]
    """Of each of them, if they were timed one by one."""


class ItemDetails:
    """Written by the dispatcher's thread, read by any.

    Of items that are tried again the last attempt counts.
    """

    def __init__(self) -> None:
        self._answers: list[_Answer] = []
        self._peaks: list[tuple[tuple[int, int, int], ...]] = []

    def take(self, event: ItemsDone) -> None:
        """Record an answer."""
        each = array("d", event.each)
        self._answers.append(_Answer(event.first, event.count, event.worker, event.seconds, each))

    def take_memory(self, event: MemoryMeasured) -> None:
        """Record the memory of items."""
        self._peaks.append(event.peaks)

    def columns(self, places: Sequence[int]) -> dict[str, list[Any]]:
        """Return the columns of a table, for the items at these places; None where nothing is known."""
        size = max(places, default=-1) + 1
        seconds: list[float | None] = [None] * size
        workers: list[str | None] = [None] * size
        peaks: list[int | None] = [None] * size
        for answer in list(self._answers):
            first, stop = answer.first, min(answer.first + answer.number, size)
            for at in range(first, stop):
                seconds[at] = answer.each[at - first] if answer.each else answer.seconds / answer.number
                workers[at] = answer.worker or None
        for first, count, peak in chain.from_iterable(list(self._peaks)):
            for at in range(first, min(first + count, size)):
                peaks[at] = peak or None
        columns: dict[str, list[Any]] = {"seconds": seconds, "worker": workers, "peak_memory": peaks}
        return {name: [column[place] for place in places] for name, column in columns.items()}
