"""Describe in words how a process ended, from its wait status."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

OUT_OF_MEMORY = "the kernel's out-of-memory killer is likely"


@dataclass(frozen=True, slots=True)
class Death:
    """How a process ended."""

    code: int
    """Exit code; minus the signal's number when a signal ended it."""

    out_of_memory: bool = False
    """Whether the kernel killed a process for lack of memory at about that time."""

    error: str = ""
    """The exception that ended it, if one did."""

    @property
    def reason(self) -> str:
        """The death as text, such as "killed by SIGSEGV" or "exit code 7"."""
        if self.code >= 0:
            return f"exit code {self.code}" + (f", {self.error}" if self.error else "")
        name = _signal_name(-self.code)
        killed = f"killed by {name}"
        return f"{killed} ({OUT_OF_MEMORY})" if name == "SIGKILL" and self.out_of_memory else killed


def death_of(wait_status: int, *, out_of_memory: bool = False, error: str = "") -> Death:
    """Return the death for a status of `os.waitpid`."""
    return Death(os.waitstatus_to_exitcode(wait_status), out_of_memory, error)


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
