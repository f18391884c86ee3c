"""The runs that may have work, in the order in which they are served."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import heappop, heappush, heapreplace

from nbpar.core.scheduling.runstate import RunState

MOST_STALE = 64
"""Maximal number of stale entries in a heap, besides as many as there are valid ones."""

_Entry = tuple[float, int, int]
"""A run's priority at insertion, its place among equals, its number."""


class ReadyRuns:
    """Runs that may have work, by priority.

    A heap with an entry for each; entries of runs served since then reach the top too early, and are
    corrected there.
    """

    def __init__(self) -> None:
        self.runs: dict[int, RunState] = {}
        """By number."""

        self._heap: list[_Entry] = []
        self._entries: dict[int, _Entry] = {}
        """The valid entry of each run."""

        self._number = 0

    def add(self, run: RunState) -> None:
        """Add a run, unless it is here."""
        if run.id not in self.runs:
            if not run.order:  # otherwise it was here before
                self._number += 1
                run.order = self._number
            self.runs[run.id] = run
            self._put(run)

    def discard(self, run: RunState) -> None:
        """Remove a run, if it is here."""
        if self.runs.pop(run.id, None) is not None:
            del self._entries[run.id]

    def correct(self, run: RunState) -> None:
        """Note that a run's priority may have increased."""
        entry = self._entries.get(run.id)
        if entry is not None and run.priority < entry[0]:
            self._put(run)

    def neediest_first(self) -> Iterable[RunState]:
        """Return the runs by time used, least first; equal ones in order of arrival."""
        return tuple(self.runs.values()) if len(self.runs) < 2 else self._by_priority()

    def _by_priority(self) -> Iterator[RunState]:
        heap, runs, entries = self._heap, self.runs, self._entries
        passed: list[_Entry] = []
        try:
            while heap:
                entry = heap[0]
                number = entry[2]
                if entries.get(number) is not entry:
                    heappop(heap)
                elif entry[0] < (run := runs[number]).priority:
                    entries[number] = new = (run.priority, run.order, number)
                    heapreplace(heap, new)
                else:
                    passed.append(heappop(heap))
                    yield run
        finally:
            for entry in passed:
                if entries.get(entry[2]) is entry:
                    heappush(heap, entry)

    def _put(self, run: RunState) -> None:
        if len(self._heap) > 2 * len(self.runs) + MOST_STALE:
            self._heap = sorted(self._entries.values())
        self._entries[run.id] = entry = (run.priority, run.order, run.id)
        heappush(self._heap, entry)
