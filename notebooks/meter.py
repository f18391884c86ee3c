"""Watch how much memory a notebook takes: its kernel, and every process that has been started below it."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from typing_extensions import Self

INTERVAL = 0.5


class Meter:
    """Measures the descendants of this process within its `with` block.

    Only what each process has for itself is counted: pages that engines share with the process that
    they were forked from would count again and again.
    """

    peak = 0
    """Most bytes that were seen at once."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(INTERVAL):
            self.peak = max(
                self.peak, sum(map(_own_memory, psutil.Process(os.getpid()).children(recursive=True)))
            )


def _own_memory(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().uss)
    except psutil.Error:  # it has ended meanwhile
        return 0
