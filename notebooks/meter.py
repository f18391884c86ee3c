"""Measure a notebook: its time, and the memory of its kernel and of all processes below it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from typing_extensions import Self

MOST_SECONDS = 120
MOST_MEMORY = 1_000_000_000
"""Bytes; small computers in the cloud have little more."""

INTERVAL = 0.5


class Meter:
    """Measures its `with` block: the time, and the memory of this process and its children.

    Only the memory that each process has for itself is counted: pages that engines share with the
    process that they were forked from would count again and again.
    """

    seconds = 0.0
    peak = 0
    """Peak of the memory, in bytes."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._began = time.perf_counter()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._over.set()
        self._thread.join()
        self.seconds = time.perf_counter() - self._began

    def __str__(self) -> str:
        return f"{self.seconds:.0f} s, {self.peak / 1e6:.0f} MB"

    @property
    def modest(self) -> bool:
        """Whether time and memory were within our limits."""
        return self.seconds < MOST_SECONDS and self.peak < MOST_MEMORY

    def _watch(self) -> None:
        while not self._over.wait(INTERVAL):
            below = psutil.Process().children(recursive=True)
            self.peak = max(self.peak, sum(map(_own_memory, below)))


def _own_memory(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().uss)
    except psutil.Error:  # it has ended meanwhile
        return 0
