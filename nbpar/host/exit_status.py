"""Describe in words how a process ended, from its wait status."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OUT_OF_MEMORY = "the kernel's out-of-memory killer is likely"

OVER_LIMIT = "it used more memory than it asked for"
"""What a batch system says of a job that it has ended."""

KILLED = "killed by SIGKILL"


@dataclass(frozen=True, slots=True)
class Death:
    """How a process ended."""

    code: int
    """Exit code; minus the signal's number when a signal ended it."""

    out_of_memory: bool = False
    """Whether the kernel killed a process for lack of memory at about that time."""

    error: str = ""
    """The exception that ended it, if one did."""

    peak: int = 0
    """The most bytes that it held at once; 0 if unknown."""

    @property
    def reason(self) -> str:
        """The death as text, such as "killed by SIGSEGV" or "exit code 7"."""
        if self.code >= 0:
            return f"exit code {self.code}" + (f", {self.error}" if self.error else "")
        killed = f"killed by {_signal_name(-self.code)}"
        if killed != KILLED or not self.out_of_memory:
            return killed
        held = f"; it held {self.peak / 1e6:,.0f} MB at most" if self.peak else ""
        return f"{killed} ({OUT_OF_MEMORY}{held})"


def death_of(wait_status: int, *, out_of_memory: bool = False, error: str = "", peak: int = 0) -> Death:
    """Return the death for a status of `os.waitpid`."""
    return Death(os.waitstatus_to_exitcode(wait_status), out_of_memory, error, peak)


def death_in(line: Mapping[str, Any]) -> Death:
    """Return the death that a fork server tells."""
    lack, error = line["lack"], line["error"]
    return death_of(line["status"], out_of_memory=lack, error=error, peak=line.get("peak", 0))


def lacked_memory(reason: str) -> bool:
    """Whether the reason of an end says that there was too little memory."""
    return OUT_OF_MEMORY in reason or OVER_LIMIT in reason


def memory_kills() -> int:
    """Number of processes that the kernel has killed for lack of memory so far; 0 if unknown."""
    return max(
        _counter(Path("/proc/vmstat"), "oom_kill"),
        _counter(Path("/sys/fs/cgroup/memory.events"), "oom_kill"),
    )


def _counter(path: Path, name: str) -> int:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{name} ")), 0)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"
