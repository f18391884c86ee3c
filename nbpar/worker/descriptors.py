"""Catch what C code and child processes write to the descriptors 1 and 2.

The descriptors lead into pipes of ours while the loop lives.  A thread keeps the pipes from
filling up; `look` reads them to the end, so what an item wrote is known when the item is
over.  ipykernel catches the descriptors too, but tells of it some time later and to nobody
in particular; it has them back when the loop ends.

The pipes last as long as the process: a child that an item left behind may go on writing.
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

from nbpar.worker.output import DESCRIPTORS

if TYPE_CHECKING:
    from typing_extensions import Self

BLOCK = 1 << 16

Note = Callable[[str, str, int | None], bool]
"""Takes a stream's name, text, and the item's index where that is not the running one's.

It returns whether it wants the text; what it does not want goes where the descriptor led before.
"""


class Descriptors:
    """The descriptors of this process, caught for the length of a `with` block."""

    def __init__(self, note: Note) -> None:
        self.seen = False
        """Something came since this was set to False: items have to be looked at one by one."""

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
        """Note all that has been written by now, also what C keeps in its buffers."""
        if os.getpid() != self._pid:
            return  # in a child that the item has forked, and that would take its parent's output
        _flush_all()
        if self._poll.poll(0) or any(pipe.taking for pipe in self._pipes):
            for pipe in self._pipes:
                pipe.take(index)

    def _take(self, name: str, text: str, index: int | None) -> bool:
        self.seen = True
        return self._note(name, text, index)


class _Pipe:
    """One descriptor that leads into a pipe, or where it led before."""

    def __init__(self, name: str, descriptor: int) -> None:
        self.reading, self._writing = os.pipe()
        os.set_blocking(self.reading, False)
        self._name = name
        self._descriptor = descriptor
        self._real: int | None = None
        """A copy of the descriptor as it was; None while it is not caught."""

        self._note: Note | None = None
        self._lock = threading.Lock()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        threading.Thread(target=self._keep_reading, name=f"nbpar {name}", daemon=True).start()

    def catch(self, note: Note) -> None:
        with self._lock:
            self._note = note
            self._real = os.dup(self._descriptor)
            os.dup2(self._writing, self._descriptor)

    def release(self) -> None:
        with self._lock:
            real, self._real, self._note = self._real, None, None
            if real is not None:
                os.dup2(real, self._descriptor)
                os.close(real)

    @property
    def taking(self) -> bool:
        """Whether a thread may have read something that it has not noted yet."""
        return self._lock.locked()

    def take(self, index: int | None = None) -> None:
        """Read what is there and note it; pass it on when nobody wants it."""
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
            with suppress(OSError):  # where it is passed on to may be closed
                self.take()


_pipes: list[_Pipe] = []


def _pipes_of_this_process() -> list[_Pipe]:
    if not _pipes:
        _pipes.extend(_Pipe(name, descriptor) for name, descriptor in DESCRIPTORS.items())
    return _pipes


def can_be_caught() -> bool:
    """Whether this system lets descriptors be caught."""
    try:
        return os.name == "posix" and hasattr(select, "poll") and bool(os.fstat(1) and os.fstat(2))
    except OSError:
        return False  # they are closed


def _flush_all() -> None:
    """Empty the buffers of Python's own streams and of the C library."""
    for stream in (sys.__stdout__, sys.__stderr__):
        with suppress(Exception):  # it may be closed, or None
            stream.flush()  # type: ignore[union-attr]
    if _flush is not None:
        _flush(None)


try:
    _flush = ctypes.CDLL(None).fflush if can_be_caught() else None
except (OSError, AttributeError):
    _flush = None
