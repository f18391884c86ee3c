"""What is known of one engine on its way into a pool, and in it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from nbpar.backends.base import WorkerId
from nbpar.backends.packing import Packing
from nbpar.worker.spin import Spin


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
