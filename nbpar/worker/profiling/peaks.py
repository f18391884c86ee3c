"""The highest resident memory of this process in spans of time, which may overlap.

On Linux the kernel records it (VmHWM in proc_pid_status(5)), and begins again when it is told to; elsewhere
only the memory at the beginning and at the end is known.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress

from nbpar.host.memory import resident_bytes

EVERY = 0.01
"""Seconds between two readings, at least: one takes up to 0.1 ms."""

_clock = time.perf_counter


class Span:
    """A span of time."""

    __slots__ = ("peak",)

    def __init__(self, peak: int) -> None:
        self.peak = peak
        """The most bytes so far."""


class PeakMemory:
    """Measures spans; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: set[Span] = set()
        self._status = self._reset = -1
        self._read = float("-inf")
        self._now = 0
        self._opened = False

    def begin(self) -> Span:
        """Begin a span."""
        with self._lock:
            self._look()
            span = Span(self._now)
            self._open.add(span)
        return span

    def lap(self, span: Span) -> int:
        """Return the peak of a span in bytes, and begin it anew."""
        with self._lock:
            self._look()
            peak, span.peak = span.peak, self._now
        return peak

    def end(self, span: Span) -> int:
        """End a span; return its peak in bytes.

        In a span that is shorter than some milliseconds it may be that of a moment before.
        """
        with self._lock:
            self._look()
            self._open.discard(span)
        return span.peak

    def _look(self) -> None:
        """Read the peak since the last time, unless that was just now; all open spans have had it."""
        now = _clock()
        if now - self._read < EVERY:
            return
        peak, self._now = self._figures()
        for span in self._open:
            span.peak = max(span.peak, peak)
        self._read = now

    def _figures(self) -> tuple[int, int]:
        """Return the peak since the last call, and the memory now."""
        if not self._opened:
            self._open_files()
        if self._status < 0:
            return (now := resident_bytes()), now
        lines = os.pread(self._status, 8192, 0).split(b"\n")
        sizes = {line[:5]: int(line[6:-3]) << 10 for line in lines if line[:5] in (b"VmHWM", b"VmRSS")}
        os.pwrite(self._reset, b"5", 0)
        return sizes.get(b"VmHWM", 0), sizes.get(b"VmRSS", 0)

    def _open_files(self) -> None:
        self._opened = True
        with suppress(OSError):
            reset = os.open("/proc/self/clear_refs", os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.pwrite(reset, b"5", 0)
                self._status = os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC)
                self._reset = reset
            except OSError:
                os.close(reset)
                raise

    def restart(self) -> None:
        """Begin anew, in the child after a fork, whose figures are its own."""
        for file in (self._status, self._reset):
            if file >= 0:
                os.close(file)
        self.__init__()  # type: ignore[misc]  # also the lock, which may have been held


peak_memory = PeakMemory()
"""That of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=peak_memory.restart)
