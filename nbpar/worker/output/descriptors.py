"""Capture what C code and child processes write to descriptors 1 and 2.

The descriptors lead into our pipes while the loop lives.  A thread keeps the pipes from
filling up; `look` drains them, so the output of an item is known when the item is
over.  ipykernel captures the descriptors too, but with a delay and without a reference
to the item; it gets them back when the loop ends.

The pipes live as long as the process: a child that an item left behind may still write.
"""

from __future__ import annotations

import codecs
import ctypes
import os
import select
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from nbpar.worker.output.recorder import DESCRIPTORS

if TYPE_CHECKING:
    from typing_extensions import Self

BLOCK = 1 << 16

Note = Callable[[str, str, int | None], bool]
"""Takes a stream's name, text, and the item's index if it is not the running one.

It returns whether it accepts the text; otherwise that goes where the descriptor led before.
"""


class Descriptors:
    """The descriptors of this process, captured for the duration of a `with` block."""

    def __init__(self, note: Note) -> None:
        self.seen = False
        """There was output since this was set to False: items must be checked one by one."""

        self._note = note
        self._pid = os.getpid()
        self._pipes = _pipes_of_this_process()
        self._poll = select.poll()
        for pipe in self._pipes:
            self._poll.register(pipe.reading, select.POLLIN)

    def __enter__(self) -> Self:
        for stream in (sys.__stdout__, sys.__stderr__):
            with suppress(Exception):  # it may be closed, or None
                stream.flush()  # type: ignore[union-attr]
        for pipe in self._pipes:
            pipe.catch(self._take)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.look()
        for pipe in self._pipes:
            pipe.release()

    def look(self, index: int | None = None) -> None:
        """Record all output so far, also from the buffers of C."""
        if os.getpid() != self._pid:
            return  # in a child forked by the item, which must not take its parent's output
        _flush_all()
        if self._poll.poll(0) or any(pipe.taking for pipe in self._pipes):
            for pipe in self._pipes:
                pipe.take(index)
        for pipe in self._pipes:
            pipe.catch_again()

    def _take(self, name: str, text: str, index: int | None) -> bool:
        self.seen = True
        return self._note(name, text, index)


class _Pipe:
    """One descriptor, with its pipe and its original target."""

    def __init__(self, name: str, descriptor: int) -> None:
        self.reading, self._writing = os.pipe()
        os.set_blocking(self.reading, False)
        self._own = _identity(self._writing)
        self._name = name
        self._descriptor = descriptor
        self._real: int | None = None
        """A copy of the original descriptor; None while it is not captured."""

        self._note: Note | None = None
        self._lock = threading.Lock()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        threading.Thread(target=self._keep_reading, name=f"nbpar {name}", daemon=True).start()

    def catch(self, note: Note) -> None:
        with self._lock:
            self._note = note
            self._real = os.dup(self._descriptor)
            os.dup2(self._writing, self._descriptor)

    def catch_again(self) -> None:
        """Capture again if an item has closed or redirected the descriptor."""
        if self._real is not None and _identity(self._descriptor) != self._own:
            os.dup2(self._writing, self._descriptor)

    def release(self) -> None:
        with self._lock:
            real, self._real, self._note = self._real, None, None
            if real is not None:
                os.dup2(real, self._descriptor)
                os.close(real)

    @property
    def taking(self) -> bool:
        """Whether a thread may have read output that it has not recorded yet."""
        return self._lock.locked()

    def take(self, index: int | None = None) -> None:
        """Read available output and record it; pass it on if it is not accepted."""
        with self._lock:
            while block := self._read():
                if self._note is None or not self._note(self._name, self._decoder.decode(block), index):
                    os.write(self._descriptor if self._real is None else self._real, block)

    def _read(self) -> bytes:
        try:
            return os.read(self.reading, BLOCK)
        except BlockingIOError:
            return b""

    def _keep_reading(self) -> None:
        poll = select.poll()
        poll.register(self.reading, select.POLLIN)
        while True:
            poll.poll()
            with suppress(OSError):  # the original target may be closed
                self.take()


def _identity(descriptor: int) -> tuple[int, int] | None:
    """Return an identifier of an open file; None if the descriptor is closed."""
    try:
        there = os.fstat(descriptor)
    except OSError:
        return None
    return there.st_dev, there.st_ino


_pipes: list[_Pipe] = []


def _pipes_of_this_process() -> list[_Pipe]:
    if not _pipes:
        _pipes.extend(_Pipe(name, descriptor) for name, descriptor in DESCRIPTORS.items())
    return _pipes


def can_be_caught() -> bool:
    """Whether this system supports capturing descriptors."""
    try:
        return os.name == "posix" and hasattr(select, "poll") and bool(os.fstat(1) and os.fstat(2))
    except OSError:
        return False  # they are closed


def _flush_all() -> None:
    """Flush the buffers of Python's own streams and of the C library."""
    for stream in (sys.__stdout__, sys.__stderr__):
        with suppress(Exception):  # it may be closed, or None
            stream.flush()  # type: ignore[union-attr]
    if _flush is not None:
        _flush(None)


try:
    _flush = ctypes.CDLL(None).fflush if can_be_caught() else None
except (OSError, AttributeError):
    _flush = None
