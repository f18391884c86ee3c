"""The items that took longest, with how they read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nbpar.core.progress import Snapshot
from nbpar.views import wording

SLOW = 1e-3
"""Seconds below which no item is called slow."""


@dataclass(frozen=True, slots=True)
class SlowItem:
    """An item that took long."""

    index: int
    item: Any
    """The item itself; None where it is not known."""

    shown: str
    """How it reads, shortened; "" where it is not known."""

    seconds: float

    stage: str = ""
    """Of a pipeline, that to which the item took long; what is shown is what this stage got."""

    @property
    def named(self) -> str:
        """How it reads, with its stage."""
        return f"{self.stage}: {self.shown}" if self.stage else self.shown


def slow_items(snapshot: Snapshot, stage: str = "") -> list[SlowItem]:
    """Return the items of a map, or of a pipeline's `stage`, that took longest; none that is short."""
    rows = []
    for (seconds, index), known in zip(snapshot.slowest, snapshot.slow_items, strict=True):
        if seconds >= SLOW:
            item, shown = (known[0], wording.shown(known[0])) if len(known) else (None, "")
            rows.append(SlowItem(index, item, shown, seconds, stage))
    return rows
