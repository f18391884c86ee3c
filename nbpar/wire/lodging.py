"""Bytes in memory that processes of one host map, in place of a copy for each.

The memory has a name only among the open files of the process that made it (Linux), so nothing is
left of it when that process and all who have mapped it are gone, however they end.  Elsewhere
nothing is lodged, and bytes travel.
"""

from __future__ import annotations

import gc
import mmap
import os
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

WORTH = 1 << 20
"""So many bytes are better lodged than sent."""

ALIGNED = 64
"""Buffers begin at a multiple of so many bytes, as arrays like it."""

CAN_LODGE = hasattr(os, "memfd_create")


class NotLodgedError(OSError):
    """The bytes are not, or no longer, where they were said to be."""


class Lodged(NamedTuple):
    """Where bytes are: what is sent in their place."""

    path: str
    name: str
    """What the file at the path calls itself, since another may have taken its place."""

    spans: tuple[tuple[int, int], ...]
    """First byte and length of each buffer."""

    def buffers(self, *, writable: bool) -> list[memoryview]:
        """Map the memory and return its parts; what is written stays in this process.

        Raises:
            NotLodgedError: it is gone, or on another host.
        """
        try:
            file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise NotLodgedError(str(error)) from None
        try:
            if self.name not in Path(f"/proc/self/fd/{file}").readlink().name:
                raise NotLodgedError(f"{self.path} is something else now")
            access = mmap.ACCESS_COPY if writable else mmap.ACCESS_READ
            memory = mmap.mmap(file, 0, access=access)
        finally:
            os.close(file)
        _mapped.add(memory)
        view = memoryview(memory)
        return [view[first : first + size] for first, size in self.spans]


def give_back() -> None:
    """Unmap what nobody uses any more, also where functions that refer to themselves seem to."""
    if len(_mapped):
        gc.collect()


_mapped: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()
"""What is mapped here."""


class Lodging:
    """Memory that holds copies of buffers until it is closed and nobody has it mapped."""

    def __init__(self, buffers: Sequence[Any]) -> None:
        name = f"nbpar-{os.urandom(12).hex()}"
        self._file = os.memfd_create(name, os.MFD_CLOEXEC)
        try:
            spans = self._fill(buffers)
        except BaseException:
            self.close()
            raise
        self.lodged = Lodged(f"/proc/{os.getpid()}/fd/{self._file}", name, spans)

    def close(self) -> None:
        """Let go of it.  May be called twice."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def _fill(self, buffers: Sequence[Any]) -> tuple[tuple[int, int], ...]:
        spans, end = [], 0
        for buffer in buffers:
            rest = memoryview(buffer).cast("B")
            end = -(-end // ALIGNED) * ALIGNED
            spans.append((end, len(rest)))
            while len(rest):
                written = os.pwrite(self._file, rest, end)
                rest, end = rest[written:], end + written
        return tuple(spans)
