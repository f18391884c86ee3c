"""Detect the end of processes on this host at once (pidfd where there is one)."""

from __future__ import annotations

import os
import select
import time

import psutil

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
