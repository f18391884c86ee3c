"""Which cores threads run on, where the system tells.

Linux wakes a thread on the core of the one that wakes it when the other cores sleep so deeply that
they cannot be seen to be idle, as those of virtual machines do.  Two that look for each other's
answers on one core wait, each, until the other's share of it is over.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_PROCESSOR = 36
"""Place of the core behind the name in /proc/<pid>/stat (field 39 in proc_pid_stat(5))."""


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def core_of(pid: int) -> int | None:
    """Return the core where the main thread of a process runs, or ran last; None if that cannot be told."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[_PROCESSOR])
    except (OSError, IndexError, ValueError):
        return None


def avoid(core: int) -> None:
    """Have this thread go on elsewhere if it is on this core; later it may be anywhere again."""
    allowed = os.sched_getaffinity(0)
    if not (others := allowed - {core}):
        return
    with suppress(OSError):  # not everybody may do it
        try:
            os.sched_setaffinity(0, others)
        finally:
            os.sched_setaffinity(0, allowed)
