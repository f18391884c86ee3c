"""Recommend a backend from measurements of a few items."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nbpar.core.chunking import TARGET

PER_ITEM = 4e-6
"""Overhead of an item in seconds, to an engine and back in chunks, besides its pickling."""

PER_BYTE = 1e-9
"""Additional seconds for each of its bytes through a socket of this host."""

WORTH = 0.05
"""Seconds of work below which sending is never worthwhile."""

GAIN = 1.2
"""Minimal worthwhile speed-up."""


@dataclass(frozen=True, slots=True)
class Measurements:
    """Measurements, and conclusions from them."""

    seconds: float
    """Time of an item, in this process and alone."""

    busy: float
    """Share of that time in which it needs a CPU; the rest is waiting."""

    gil: float
    """Share of that time in which it holds the GIL; 0 without a GIL."""

    item_bytes: float
    result_bytes: float
    """Pickled sizes of an item and its result, on average."""

    packing: float
    """Seconds to pickle and unpickle them."""

    tried: float
    """Measured speed-up of threads; 0 for one worker."""

    items: int | None
    """Number of items, if known."""

    workers: int
    cpus: int
    problem: str = ""
    """Why engines cannot run it."""

    free_threaded: bool = False

    @property
    def reach(self) -> float:
        """Number of items that can run concurrently: waiting needs no CPU."""
        return min(self.workers, self.cpus / max(self.busy, 1e-3))

    @property
    def threads(self) -> float:
        """Expected speed-up of threads: code that holds the GIL is serialized (Amdahl's law)."""
        here = self.seconds / (self.seconds + PER_ITEM / 4)
        return min(self.reach, 1 / max(self.gil, 1e-3)) * here

    @property
    def engines(self) -> float:
        """Expected speed-up of running engines: items are pickled in this process, one after the other."""
        if self.problem:
            return 0.0
        here = self.packing + PER_ITEM + PER_BYTE * (self.item_bytes + self.result_bytes)
        return self.seconds / max((self.seconds + here) / self.reach, here)

    @property
    def backend(self) -> str:
        """The recommendation; of two equal ones the simpler one."""
        if self.items is not None and self.items * self.seconds < WORTH:
            return "serial"
        best = max(self.threads, self.engines)
        if best < GAIN:
            return "serial"
        return "threads" if self.threads >= best / 1.1 else "engines"

    @property
    def chunksize(self) -> int:
        """Number of items in an automatic chunk; each worker gets one at least."""
        wanted = max(1, round(TARGET / max(self.seconds, 1e-9)))
        return wanted if self.items is None else max(1, min(wanted, math.ceil(self.items / self.workers)))
