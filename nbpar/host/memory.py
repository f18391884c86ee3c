"""Memory of this machine, its control groups and processes, and a guard against running out.

A container's limit counts as the machine's memory.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

EVERY = 0.25
"""Seconds between two checks."""

SHARE = 0.05
"""Default share of the machine's memory to keep free."""

MOST = 1 << 30
"""Maximal default of bytes to keep free."""

RELIEF = 1.25
"""Memory is sufficient again when this number of times the threshold is free (hysteresis)."""


LARGE = 64 << 20
"""Size in bytes from which allocations are checked."""


class MemoryGuard:
    """Checks the free memory regularly.

    Args:
        least: bytes to keep free; below 1 a share of the machine's memory; "auto" for the default.
        free: returns the number of free bytes.
    """

    def __init__(self, least: float | str = "auto", *, free: Callable[[], int] | None = None) -> None:
        self._free = free or free_memory
        self._least = least if free is not None and not isinstance(least, str) else threshold(least)
        self._looked = float("-inf")
        self.low = False
        """Whether too little memory is free."""

        self.free = 0
        """Free bytes at the last check."""

    def look(self, now: float) -> bool:
        """Check, unless that was done a moment ago; return whether `low` has changed."""
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
    """Prefix of the names of totals in its statistics."""


def threshold(least: float | str) -> float:
    """Return the number of bytes to keep free."""
    if isinstance(least, str):
        return min(SHARE * whole_memory(), MOST)
    return least * whole_memory() if least < 1 else least


def whole_memory() -> int:
    """The memory available to this process and its siblings, in bytes."""
    limits = [number for group in _limits() if (number := _number(group.limit)) is not None]
    if (told := os.environ.get("MEM_LIMIT", "")).isdecimal() and int(told):  # by JupyterHub, in bytes
        limits.append(int(told))
    return min([_of_machine("MemTotal", lambda psutil: psutil.virtual_memory().total), *limits])


def free_memory() -> int:
    """Number of bytes that may still be allocated, by the machine and its control groups."""
    free = [_of_machine("MemAvailable", lambda psutil: psutil.virtual_memory().available)]
    for group in _limits():
        limit, usage = _number(group.limit), _number(group.usage)
        if limit is not None and usage is not None:
            free.append(max(0, limit - usage + _given_back(group)))
    return min(free)


def fits(size: int) -> bool:
    """Whether an allocation of this size would not end this process; cheap for small sizes."""
    if size < LARGE:
        return True
    return size < free_memory() + _of_machine("SwapFree", lambda psutil: psutil.swap_memory().free)


def resident_bytes_of(pid: int) -> int | None:
    """Resident memory of a process on this host; None if it is gone or invisible."""
    if _STATM.exists():
        try:
            return _bytes_of(Path(f"/proc/{pid}/statm"))
        except (OSError, ValueError, IndexError):
            return None
    import psutil

    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return None


def _of_machine(name: str, otherwise: Callable[[Any], int]) -> int:
    """Return bytes that Linux tells by a name in proc_meminfo(5), without an import; `otherwise` psutil's."""
    for line in _text(Path("/proc/meminfo")).splitlines():
        key, _, value = line.partition(":")
        if key == name and value.endswith(" kB"):
            return int(value[:-3]) * 1024
    import psutil

    return int(otherwise(psutil))


def _limits() -> Iterator[_Limit]:
    """The control groups of this process that set a limit, of cgroup v2 and v1."""
    if not _found:
        _found.append([group for group in _groups() if _number(group.limit) is not None])
    yield from _found[0]


_found: list[list[_Limit]] = []  # cached: a process seldom changes its groups


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
    """Memory that counts as used but is reclaimable: mainly the page cache."""
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


_STATM = Path("/proc/self/statm")


def _bytes_of(statm: Path) -> int:
    """Return the resident bytes of a process that proc_pid_statm(5) tells."""
    return int(statm.read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")


_last = (0.0, 0)


def resident_bytes() -> int:
    """Return the resident set size in bytes, at most 0.1 s old; 0 if unknown."""
    global _last  # noqa: PLW0603 (a cache of one number)
    now = time.monotonic()
    if now - _last[0] > 0.1:
        _last = (now, _resident_bytes())
    return _last[1]


def _resident_bytes() -> int:
    try:
        return _bytes_of(_STATM)
    except (OSError, ValueError, IndexError, AttributeError):
        pass
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
