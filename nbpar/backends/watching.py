"""Notice the end of processes on this host, at once."""

from __future__ import annotations

import os
import select
import time

import psutil

LOOK_EVERY = 0.5
"""Seconds between two looks where the system cannot tell by itself."""


class ProcessWatch:
    """Processes by name; those that have ended are reported once.

    On Linux a file descriptor per process becomes readable when it ends (pidfd_open(2));
    elsewhere the process table is read now and then.
    """

    def __init__(self) -> None:
        self._handles: dict[int, str] = {}
        self._polled: dict[str, psutil.Process] = {}
        self._looked = 0.0

    @property
    def handles(self) -> tuple[int, ...]:
        """File descriptors to wait for, along with others."""
        return tuple(self._handles)

    def add(self, name: str, pid: int) -> None:
        """Watch a process."""
        try:
            self._handles[os.pidfd_open(pid)] = name
        except (AttributeError, OSError):
            try:
                self._polled[name] = psutil.Process(pid)
            except psutil.NoSuchProcess:
                return  # not visible from here: ipyparallel's own notice will do

    def gone(self) -> list[str]:
        """Return the names of those that have ended since the last time."""
        ended = []
        if self._handles:
            readable, _, _ = (
                select.select(list(self._handles), [], [], 0)
                if max(self._handles) < 1024
                else _poll(self._handles)
            )
            ended += [self._handles[handle] for handle in readable]
        if self._polled and time.monotonic() - self._looked > LOOK_EVERY:
            self._looked = time.monotonic()
            ended += [name for name, process in self._polled.items() if not process.is_running()]
        for name in ended:
            self.forget(name)
        return ended

    def forget(self, name: str) -> None:
        """Watch a process no more."""
        self._polled.pop(name, None)
        for handle in [handle for handle, other in self._handles.items() if other == name]:
            del self._handles[handle]
            os.close(handle)

    def close(self) -> None:
        """Watch nothing any more."""
        for name in list(self._handles.values()):
            self.forget(name)
        self._polled.clear()


def _poll(handles: dict[int, str]) -> tuple[list[int], None, None]:
    poller = select.poll()
    for handle in handles:
        poller.register(handle, select.POLLIN)
    return [handle for handle, _ in poller.poll(0)], None, None
