"""What is known of one engine on its way into a pool, and in it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from nbpar.backends.base import WorkerId
from nbpar.backends.packing import Packing
from nbpar.worker.cores import avoid, core_of
from nbpar.worker.spin import Spin

APART_EVERY = 5e-3
"""Seconds after which the system may have put two together again; to look costs some 20 us."""


@dataclass
class Engine:
    """One engine whose loop has been asked for, or runs."""

    worker: WorkerId
    engine_id: int
    uuid: str
    identity: bytes
    packing: Packing
    facts: dict[str, Any] = field(default_factory=dict)
    local: bool = True
    ready: bool = False
    asked: float = field(default_factory=time.monotonic)
    """When its loop was asked for."""

    spin: Spin = field(default_factory=Spin)
    """How soon it answers."""

    _apart: float = 0.0
    """When it was made sure that it has another core than who waits for it."""

    def keep_apart(self) -> None:
        """Have this thread leave the core of the engine whose answer it is about to look for."""
        now = time.monotonic()
        if self.ready and self.local and now - self._apart > APART_EVERY:
            self._apart = now
            if (core := core_of(self.facts["pid"])) is not None:
                avoid(core)
