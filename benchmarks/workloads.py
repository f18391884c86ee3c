"""The measured functions, which any worker can import, and the number of items for each.

Every function returns its item, so that the answers can be checked.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MILLISECOND = 0.001


def noop(item: int) -> int:
    """Do nothing: the time is the cost of sending an item and its result."""
    return item


def busy(item: int) -> int:
    """Compute for a millisecond of CPU time; waiting for a core or for the GIL does not count."""
    end = time.thread_time() + MILLISECOND
    while time.thread_time() < end:
        pass
    return item


def sleep(item: int) -> int:
    """Wait for 10 ms."""
    time.sleep(10 * MILLISECOND)
    return item


def skewed(item: int) -> int:
    """Wait for 100 ms in the first ten items and 1 ms in the others."""
    time.sleep((100 if item < 10 else 1) * MILLISECOND)
    return item


@dataclass(frozen=True, slots=True)
class Workload:
    """One section of the table."""

    key: str
    """Name on the command line."""

    title: str
    """Name in the table."""

    function: Callable[[int], int]
    """The function applied to each item."""

    items: int
    """Number of items; a peer that would take too long gets fewer."""

    one_by_one: bool = False
    """Chunks of one item, which most peers send in messages of their own."""

    submitted: bool = False
    """Each item is a call with a future of its own; all of them are outstanding at once."""

    cheap: bool = False
    """Items are so small that a user of a peer without automatic chunks would choose large ones."""

    item_seconds: float | None = None
    """Seconds of work per item; gives the ideal time if all items cost the same."""

    ideal_seconds: float | None = None
    """The ideal time, if it does not follow from `item_seconds`."""

    workers: int | None = None
    """Number of workers that this one needs; None for that of the run."""

    unit: str = "s"
    """Unit of the results: items/s, s or ms."""

    calls: int = 1
    """Number of timed calls in each round."""

    reference: str | None = None
    """Key of the peer that the others are compared with; None compares with the ideal time."""

    def ideal(self, items: int, workers: int) -> float | None:
        """Seconds that workers without any overhead would take."""
        if self.item_seconds is not None:
            return items * self.item_seconds / workers
        return self.ideal_seconds


WORKLOADS = (
    Workload("noop", "no-op, map", noop, 1_000_000, cheap=True, unit="items/s", reference="pool"),
    Workload(
        "single",
        "no-op, chunks of one item",
        noop,
        100_000,
        one_by_one=True,
        unit="items/s",
        reference="pool",
    ),
    Workload(
        "submit",
        "no-op, all submitted at once",
        noop,
        5000,
        submitted=True,
        unit="items/s",
        reference="executor",
    ),
    Workload("busy", "1 ms of computing, map", busy, 4000, item_seconds=MILLISECOND),
    Workload("sleep", "10 ms of waiting, map", sleep, 100, item_seconds=10 * MILLISECOND),
    Workload(
        "skewed", "10 x 100 ms then 30 x 1 ms of waiting, map", skewed, 40, ideal_seconds=0.3, workers=4
    ),
    Workload("small", "map(f, range(4))", noop, 4, unit="ms", calls=30, reference="pool"),
)

STREAM_ITEMS = 1_000_000
QUICK_STREAM_ITEMS = 20_000


def tiny(workload: Workload) -> Workload:
    """Shrink a workload so that the whole program ends in moments; its figures mean nothing."""
    sizes = {"noop": 2000, "single": 100, "submit": 100, "busy": 40, "sleep": 8}
    return replace(workload, items=sizes.get(workload.key, workload.items), calls=min(workload.calls, 3))
