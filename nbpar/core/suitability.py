"""Say which backend suits work that has been tried: plain arithmetic, to be followed by hand."""

from __future__ import annotations

from dataclasses import dataclass

from nbpar.core.chunking import TARGET

PER_ITEM = 4e-6
"""Seconds that an item costs on its way to an engine and back, in chunks, besides its pickling."""

PER_BYTE = 1e-9
"""Seconds that each of its bytes costs besides, on the way through a socket of this host."""

WORTH = 0.05
"""Seconds of work below which nothing is worth sending away."""

GAIN = 1.2
"""A speed-up below this is not worth the trouble."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured, and what follows from it."""

    seconds: float
    """Time of an item, here and alone."""

    busy: float
    """Share of that time in which it needs a CPU; the rest is waiting."""

    gil: float
    """Share of that time in which it holds the GIL; 0 where there is none."""

    item_bytes: float
    result_bytes: float
    """Pickled sizes of an item and its result, on average."""

    packing: float
    """Seconds to pickle and unpickle them."""

    tried: float
    """Speed-up that threads had here; 0 when there was one worker to try."""

    items: int | None
    """How many there are, where that is known."""

    workers: int
    cpus: int
    problem: str = ""
    """Why engines cannot run it."""

    free_threaded: bool = False

    @property
    def reach(self) -> float:
        """How many items can go on at once: waiting needs no CPU."""
        return min(self.workers, self.cpus / max(self.busy, 1e-3))

    @property
    def threads(self) -> float:
        """Expected speed-up of threads: what holds the GIL happens one after the other (Amdahl's law)."""
        here = self.seconds / (self.seconds + PER_ITEM / 4)
        return min(self.reach, 1 / max(self.gil, 1e-3)) * here

    @property
    def engines(self) -> float:
        """Expected speed-up of engines that run already: items are pickled here, one after the other."""
        if self.problem:
            return 0.0
        here = self.packing + PER_ITEM + PER_BYTE * (self.item_bytes + self.result_bytes)
        return self.seconds / max((self.seconds + here) / self.reach, here)

    @property
    def backend(self) -> str:
        """What is recommended; of two that are alike the simpler one."""
        if self.items is not None and self.items * self.seconds < WORTH:
            return "serial"
        best = max(self.threads, self.engines)
        if best < GAIN:
            return "serial"
        return "threads" if self.threads >= best / 1.1 else "engines"

    @property
    def chunksize(self) -> int:
        """Items that make a chunk where no size is asked for."""
        return max(1, round(TARGET / max(self.seconds, 1e-9)))
