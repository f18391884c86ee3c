"""Notice that the machine runs out of memory before it does.

A container's limit counts as the machine's memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

EVERY = 0.25
"""Seconds between two looks."""

SHARE = 0.05
"""Part of the machine's memory that stays free unless told otherwise."""

MOST = 1 << 30
"""Bytes that stay free at most unless told otherwise."""

RELIEF = 1.25
"""Memory is enough again when so many times the threshold is free, so that it does not flutter."""


class MemoryGuard:
    """Looks at the free memory now and then.

    Args:
        least: bytes that have to be free; below 1 a share of the machine's memory; "auto" chooses.
        free: tells how many bytes are free.
    """

    def __init__(self, least: float | str = "auto", *, free: Callable[[], int] | None = None) -> None:
        self._free = free or free_memory
        self._least = least if free is not None and not isinstance(least, str) else threshold(least)
        self._looked = float("-inf")
        self.low = False
        """Whether too little is free."""

        self.free = 0
        """Bytes that were free at the last look."""

    def look(self, now: float) -> bool:
        """Look, unless that was done a moment ago; whether `low` has changed."""
        if now - self._looked < EVERY:
            return False
        self._looked = now
        self.free = self._free()
        before, self.low = self.low, self.free < self._least * (RELIEF if self.low else 1.0)
        return before != self.low


class _Limit(NamedTuple):
    """A control group that limits memory."""

    limit: Path
    usage: Path
    statistics: Path
    prefix: str
    """Before the names of sums in its statistics."""


def threshold(least: float | str) -> float:
    """Return how many bytes have to stay free."""
    if isinstance(least, str):
        return min(SHARE * whole_memory(), MOST)
    return least * whole_memory() if least < 1 else least


def whole_memory() -> int:
    """The memory that this process, with all others beside it, may use in bytes."""
    limits = [number for group in _limits() if (number := _number(group.limit)) is not None]
    return min([int(psutil.virtual_memory().total), *limits])


def free_memory() -> int:
    """How many bytes may still be taken, by the machine's account and its control groups'."""
    free = [int(psutil.virtual_memory().available)]
    for group in _limits():
        limit, usage = _number(group.limit), _number(group.usage)
        if limit is not None and usage is not None:
            free.append(max(0, limit - usage + _given_back(group)))
    return min(free)


def resident_bytes(pid: int) -> int | None:
    """How much memory a process on this host holds; None when it is gone or out of sight."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return None


def _limits() -> Iterator[_Limit]:
    """The control groups above this process that set a limit, of cgroup v2 and v1."""
    if not _found:
        _found.append([group for group in _groups() if _number(group.limit) is not None])
    yield from _found[0]


_found: list[list[_Limit]] = []  # looked for once: a process seldom changes its groups


def _groups() -> Iterator[_Limit]:
    root = Path("/sys/fs/cgroup")
    for line in _text(Path("/proc/self/cgroup")).splitlines():
        controllers, _, path = line.partition(":")[2].partition(":")
        inner = Path(path.lstrip("/"))
        for folder in (inner, *inner.parents):
            if not controllers:
                here = root / folder
                limit, usage = here / "memory.max", here / "memory.current"
                yield _Limit(limit, usage, here / "memory.stat", "")
            elif "memory" in controllers.split(","):
                here = root / "memory" / folder
                limit, usage = here / "memory.limit_in_bytes", here / "memory.usage_in_bytes"
                yield _Limit(limit, usage, here / "memory.stat", "total_")


def _given_back(group: _Limit) -> int:
    """Memory that counts as used and is given back when it is needed: contents of files above all."""
    names = {group.prefix + name for name in ("active_file", "inactive_file", "slab_reclaimable")}
    lines = (line.partition(" ") for line in _text(group.statistics).splitlines())
    return sum(int(number) for name, _, number in lines if name in names and number.isdigit())


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdigit() and int(text) < 1 << 60 else None


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
