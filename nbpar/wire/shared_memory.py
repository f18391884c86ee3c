"""Shared memory (memfd) that processes of one host map, in place of a copy for each.

The memory is named only by an open file of the process that made it (Linux), so nothing is
left of it after that process and all that have mapped it have ended, for any reason.  On other
systems bytes are sent instead.
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
"""Size in bytes from which buffers are put into shared memory."""

ALIGNED = 64
"""Alignment of buffers in bytes, for arrays."""

CAN_LODGE = hasattr(os, "memfd_create")


class NotMappedError(OSError):
    """The bytes are not, or no longer, at the given place."""


class Mapped(NamedTuple):
    """The place of bytes in shared memory, sent instead of them."""

    path: str
    name: str
    """The name that the file at the path must have, since another may have replaced it."""

    spans: tuple[tuple[int, int], ...]
    """First byte and length of each buffer."""

    def buffers(self, *, writable: bool) -> list[memoryview]:
        """Map the memory copy-on-write and return its parts.

        Raises:
            NotMappedError: it is gone, or on another host.
        """
        try:
            file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise NotMappedError(str(error)) from None
        try:
            if self.name not in Path(f"/proc/self/fd/{file}").readlink().name:
                raise NotMappedError(f"{self.path} is something else now")
            access = mmap.ACCESS_COPY if writable else mmap.ACCESS_READ
            memory = mmap.mmap(file, 0, access=access)
        except OSError as error:  # it cannot be mapped here, or has gone this moment
            raise NotMappedError(str(error)) from None
        finally:
            os.close(file)
        _mapped.add(memory)
        view = memoryview(memory)
        return [view[first : first + size] for first, size in self.spans]


def give_back() -> None:
    """Unmap unused memory, also if only self-referential functions refer to it."""
    if len(_mapped):
        gc.collect()


_mapped: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()
"""Memory mapped by this process."""


class SharedBuffers:
    """Memory with copies of buffers, until it is closed and unmapped everywhere."""

    def __init__(self, buffers: Sequence[Any]) -> None:
        name = f"nbpar-{os.urandom(12).hex()}"
        self._file = os.memfd_create(name, os.MFD_CLOEXEC)
        try:
            spans = self._fill(buffers)
        except BaseException:
            self.close()
            raise
        self.lodged = Mapped(f"/proc/{os.getpid()}/fd/{self._file}", name, spans)

    def close(self) -> None:
        """Release it.  Idempotent."""
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
