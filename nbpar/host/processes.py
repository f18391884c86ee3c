"""Detect the end of processes on this host at once (pidfd where there is one)."""

from __future__ import annotations

import os
import select
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

_LINUX = Path("/proc/self/stat").exists()

UNSEEN = "unseen"
"""Stands for when a process began that this one may not look at."""

LOOK_EVERY = 0.5
"""Seconds between two checks where the system cannot notify."""


class ProcessWatch:
    """Processes by name; those that have ended are reported once.

    On Linux a file descriptor per process becomes readable when it ends (pidfd_open(2)), and with
    it `handle`; on other systems the process table is polled.
    """

    def __init__(self) -> None:
        self._handles: dict[int, str] = {}
        self._ended = select.epoll() if hasattr(os, "pidfd_open") and hasattr(select, "epoll") else None
        self._polled: dict[str, psutil.Process] = {}
        self._looked = 0.0

    @property
    def handle(self) -> int | None:
        """A file descriptor to wait for, among others; None if the system has none."""
        return None if self._ended is None else self._ended.fileno()

    def add(self, name: str, pid: int) -> None:
        """Watch a process."""
        try:
            if self._ended is not None:
                handle = os.pidfd_open(pid)
                self._ended.register(handle, select.EPOLLIN)
                self._handles[handle] = name
                return
        except OSError:
            pass  # an old system, or a container that forbids it
        import psutil

        try:
            self._polled[name] = psutil.Process(pid)
        except psutil.NoSuchProcess:
            pass  # not visible from here: ipyparallel's own notification must suffice

    def gone(self) -> list[str]:
        """Return the names of those that have ended since the last call."""
        ended = []
        if self._ended is not None:
            ended += [self._handles[handle] for handle, _ in self._ended.poll(0)]
        if self._polled and time.monotonic() - self._looked > LOOK_EVERY:
            self._looked = time.monotonic()
            ended += [name for name, process in self._polled.items() if not process.is_running()]
        for name in ended:
            self.forget(name)
        return ended

    def forget(self, name: str) -> None:
        """Stop watching a process."""
        self._polled.pop(name, None)
        for handle in [handle for handle, other in self._handles.items() if other == name]:
            del self._handles[handle]
            if self._ended is not None:
                self._ended.unregister(handle)
            os.close(handle)

    def close(self) -> None:
        """Stop watching all."""
        for name in list(self._handles.values()):
            self.forget(name)
        self._polled.clear()
        if self._ended is not None:
            self._ended.close()
            self._ended = None


def birth(pid: int) -> str:
    """Return when a process began, as only this machine counts it; "" if it has ended, or `UNSEEN`.

    With its pid, which may be used again, this names one process.
    """
    if _LINUX:  # psutil's time depends on the clock, which may have been set since
        with suppress(OSError):
            state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            return "" if state in "ZX" else fields[18]  # field 22 in proc_pid_stat(5)
    import psutil

    if _LINUX:  # it has ended, or `/proc` is mounted so that it hides processes of other users
        return UNSEEN if psutil.pid_exists(pid) else ""
    try:
        process = psutil.Process(pid)
        return "" if process.status() == psutil.STATUS_ZOMBIE else str(process.create_time())
    except (OSError, psutil.Error):
        return UNSEEN if psutil.pid_exists(pid) else ""


def began_at() -> float:
    """Return the time when this process began; now, if only psutil could tell and is missing."""
    with suppress(OSError, ValueError, StopIteration):
        lines = iter(Path("/proc/stat").read_text().splitlines())
        boot = next(int(line.split()[1]) for line in lines if line.startswith("btime "))
        return boot + int(birth(os.getpid())) / os.sysconf("SC_CLK_TCK")
    try:
        import psutil
    except ImportError:
        return time.time()
    return float(psutil.Process().create_time())


class OtherProcess:
    """One process of this machine, and whether it has ended.  Thread-safe.

    Args:
        pid: its number.
        born: its `birth`, so that another process of this number is none.
    """

    def __init__(self, pid: int, born: str) -> None:
        self._pid = pid
        self._born = born
        self._lock = threading.Lock()
        self._handle: int | None = None
        with suppress(OSError, AttributeError):  # an old system, a container that forbids it, or it has ended
            self._handle = os.pidfd_open(pid)
        self._looked = time.monotonic()
        self._ended = self._is_another()

    @property
    def ended(self) -> bool:
        """Whether it has; notified by the system, or looked for every half second."""
        with self._lock:
            self._ended = self._ended or self._has_ended()
            return self._ended

    def _has_ended(self) -> bool:
        if self._handle is not None:
            poll = select.poll()
            poll.register(self._handle, select.POLLIN)
            return bool(poll.poll(0))
        if time.monotonic() - self._looked < LOOK_EVERY:
            return False
        self._looked = time.monotonic()
        return self._is_another()

    def _is_another(self) -> bool:
        return birth(self._pid) not in (self._born, UNSEEN)

    def close(self) -> None:
        """Stop watching it.  Idempotent."""
        with self._lock:
            handle, self._handle = self._handle, None
            if handle is not None:
                os.close(handle)
