"""Progress bars inside an item: how far the code of one item has come, as it tells."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from nbpar.core import text as wording

DEEPEST = 3
"""Maximal number of nested bars of an item that are shown, outermost first."""

COUNTED = 1000
"""Totals below this are shown as a number, others in percent."""


class InnerBar(NamedTuple):
    """A bar at one moment."""

    name: str
    done: float
    total: float | None
    """None if unknown."""

    unit: str
    note: str
    """What the code says besides, as a loss."""

    rate: float
    """Units per second since it began; 0 if unknown."""

    @property
    def share(self) -> float | None:
        """The part that is done, from 0 to 1; None if the total is unknown."""
        if self.total is None or not 0 < self.total < math.inf:
            return None
        return min(max(self.done / self.total, 0.0), 1.0)


Bars = tuple[InnerBar, ...]


def described(bars: Sequence[InnerBar]) -> str:
    """Return nested bars in one line: `epoch 3/10, batch 45 %`."""
    return ", ".join(_described(bar) for bar in bars)


def _described(bar: InnerBar) -> str:
    done = wording.count(int(bar.done)) if math.isfinite(bar.done) else "?"
    if (share := bar.share) is None:
        how = f"{done} {bar.unit}".rstrip()
    elif bar.total is not None and bar.total < COUNTED and bar.total == int(bar.total):
        how = f"{done}/{int(bar.total)}"
    else:
        how = f"{math.floor(100 * share)} %"
    return f"{bar.name} {how}".lstrip()
