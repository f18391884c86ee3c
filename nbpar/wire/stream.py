"""Framing of messages over a byte stream.

Large frames are read straight into memory of their own and written straight from where they
are, so they are copied once on each side, by the system.
"""

from __future__ import annotations

import mmap
import socket as network
import struct
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from nbpar.wire.frames import FrameError
from nbpar.wire.pickling import Unreceived

Frame = bytes | bytearray | mmap.mmap

READ = 1 << 17
"""Bytes per read; a longer frame gets memory of its own."""

MOST_FRAMES = 1 << 20
"""A message with more frames counts as invalid."""

LONGEST_FRAME = 1 << 44
"""A longer frame counts as invalid."""

LONGEST_DROPPED = 1 << 40
"""A longer frame without memory for it counts as invalid; a shorter one is read and dropped."""

MAPPED = 32 << 20
"""Bytes from which a frame gets pages of its own from the system, as it would by malloc(3), too."""

LONGEST_NAME = 256
"""Maximal bytes from an unidentified sender: its name, as one message of one frame."""

SMALL = 1 << 14
"""Messages smaller than this are joined and written in one call."""

MOST_PIECES = 512
"""Maximal number of pieces per write (IOV_MAX is 1024 on Linux)."""

ROUNDS = 64
"""Number of reads from one stream before others get their turn."""

_COUNT = struct.Struct("<I")
_ONE = struct.Struct("<IQ")


class Incoming:
    """Reads messages from a non-blocking socket.

    Args:
        socket: the socket.
        stranger: the other end is not identified yet: it may send its name, and `read` returns
            nothing that follows until `trust` is called.
        fits: returns whether a large frame of a given size fits into memory.
    """

    def __init__(
        self, socket: network.socket, *, stranger: bool = False, fits: Callable[[int], bool] = lambda _: True
    ) -> None:
        self._socket = socket
        self._stranger = stranger
        self._fits = fits
        self._buffer = bytearray(READ)
        self._view = memoryview(self._buffer)
        self._start = self._end = 0
        self._sizes: deque[int] = deque()
        """Sizes of the remaining frames of the current message."""

        self._frames: list[Frame] = []
        self._large: Frame | None = None
        """The current frame, if it is longer than the buffer."""

        self._rest = self._view[:0]
        """The part of it that is still to be received."""

        self._unread = 0
        """Number of its missing bytes, if it is dropped."""

        self.ended = False
        """Whether the other side has gone."""

    @property
    def missing(self) -> int:
        """Bytes to come of a large frame that has begun."""
        return self._unread or len(self._rest)

    def read(self) -> list[list[Frame]]:
        """Return the complete messages so far; never waits.

        Raises:
            FrameError: invalid data; nothing that follows can be understood.
        """
        messages: list[list[Frame]] = []
        for _ in range(ROUNDS):
            room = self._room()
            try:
                count = self._socket.recv_into(room)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                count = 0
            if not count:
                self.ended = True
                break
            if not self._take_whole(count, messages):
                self._take(count, messages)
            if (count < len(room) and self._large is None) or (self._stranger and messages):
                break  # no more data now; the rest of a large frame is in transit
        return messages

    def trust(self) -> list[list[Frame]]:
        """Accept all messages from now on; return those already received.

        Raises:
            FrameError: as `read`.
        """
        self._stranger = False
        messages: list[list[Frame]] = []
        self._parse(messages)
        return messages

    def _take_whole(self, count: int, messages: list[list[Frame]]) -> bool:
        """Take one small message that arrived alone, the most frequent case."""
        if self._end or self._large is not None or self._sizes or self._frames or count < _ONE.size:
            return False
        frames, size = _ONE.unpack_from(self._buffer, 0)
        if frames != 1 or size != count - _ONE.size or self._stranger:
            return False
        messages.append([bytes(self._view[_ONE.size : count])])
        return True

    def _room(self) -> memoryview:
        if self._unread:
            return self._view[: self._unread]
        if self._large is not None:
            return self._rest
        if self._start == self._end:
            self._start = self._end = 0
        return self._view[self._end :]

    def _take(self, count: int, messages: list[list[Frame]]) -> None:
        if self._large is None:
            self._end += count
        elif self._unread:
            self._unread -= count
            if not self._unread:
                self._end_large(self._large, messages)
        else:
            self._rest = self._rest[count:]
            if not self._rest:
                self._end_large(self._large, messages)
        if self._large is None:
            self._parse(messages)

    def _end_large(self, frame: Frame, messages: list[list[Frame]]) -> None:
        self._frames.append(frame)
        self._large, self._rest = None, self._view[:0]
        self._close_message(messages)

    def _parse(self, messages: list[list[Frame]]) -> None:
        while self._large is None and self._begin_message():
            while self._sizes:
                if not self._take_frame():
                    return
            self._close_message(messages)
            if self._stranger:
                return

    def _begin_message(self) -> bool:
        """Read the number and sizes of the frames that follow; False until that has arrived."""
        if self._sizes:
            return True
        there = self._end - self._start
        if there >= _ONE.size:
            count, size = _ONE.unpack_from(self._buffer, self._start)
            if self._stranger and (count != 1 or size > LONGEST_NAME):
                raise FrameError("this is no name")
            if count == 1:
                self._sizes.append(_sane(size))
                self._start += _ONE.size
                return True
            if not 0 < count < MOST_FRAMES:
                raise FrameError("this is no stream of frames")
            header = _COUNT.size + 8 * count
            if header > READ:
                raise FrameError("too many frames in one message")
            if there >= header:
                sizes = struct.unpack_from(f"<{count}Q", self._buffer, self._start + _COUNT.size)
                self._sizes.extend(map(_sane, sizes))
                self._start += header
                return True
        self._move_to_front()
        return False

    def _take_frame(self) -> bool:
        """Take the next frame out of the buffer; False while it is incomplete."""
        size, there = self._sizes[0], self._end - self._start
        if size <= there:
            self._frames.append(bytes(self._view[self._start : self._start + size]))
            self._start += size
        elif size <= READ:
            self._move_to_front()
            return False
        else:
            self._begin_large(size, there)
        self._sizes.popleft()
        return self._large is None

    def _begin_large(self, size: int, there: int) -> None:
        """Get memory for a frame of which the beginning is in the buffer, or drop what there is none for."""
        try:
            frame = _memory(size) if self._fits(size) else None
        except (MemoryError, OSError):
            frame = None
        if frame is None:
            if size > LONGEST_DROPPED:
                raise FrameError("this is no stream of frames") from None
            self._large, self._unread = Unreceived.of(size), size - there
            self._start = self._end = 0
            return
        self._large, room = frame, memoryview(frame)
        room[:there] = self._view[self._start : self._end]
        self._rest, self._start = room[there:], self._end

    def _close_message(self, messages: list[list[Frame]]) -> None:
        if not self._sizes and self._large is None:
            messages.append(self._frames)
            self._frames = []

    def _move_to_front(self) -> None:
        if self._start:
            there = self._end - self._start
            self._view[:there] = bytes(self._view[self._start : self._end])
            self._start, self._end = 0, there


class Outgoing:
    """Writes to a non-blocking socket; data that does not fit waits for `flush`."""

    def __init__(self, socket: network.socket) -> None:
        self._socket = socket
        self._waiting: deque[memoryview] = deque()
        self._dead = False
        """The other side has gone: messages are dropped, and the reader notices."""

    @property
    def waiting(self) -> bool:
        """Whether there is unsent data."""
        return bool(self._waiting)

    @property
    def unsent(self) -> int:
        """Bytes of unsent data."""
        return sum(view.nbytes for view in self._waiting)

    def send(self, frames: Sequence[Any]) -> None:
        """Send frames as one message, as much as fits; never waits."""
        if len(frames) == 1 and len(frames[0]) < SMALL:
            pieces = [_ONE.pack(1, len(frames[0])) + frames[0]]
        else:
            sizes = [memoryview(frame).nbytes for frame in frames]
            pieces = [struct.pack(f"<I{len(sizes)}Q", len(sizes), *sizes), *frames]
        if not self._waiting and len(pieces) == 1:
            sent = self._write(pieces)
            if sent < len(pieces[0]) and not self._dead:
                self._waiting.append(memoryview(pieces[0])[sent:])
            return
        self._waiting.extend(view for piece in pieces if (view := memoryview(piece).cast("B")).nbytes)
        self.flush()

    def flush(self) -> None:
        """Send unsent data; never waits."""
        waiting = self._waiting
        while waiting and not self._dead:
            sent = self._write([waiting[at] for at in range(min(len(waiting), MOST_PIECES))])
            if not sent:
                break
            while sent and sent >= waiting[0].nbytes:
                sent -= waiting.popleft().nbytes
            if sent:
                waiting[0] = waiting[0][sent:]
        if self._dead:
            waiting.clear()

    def _write(self, pieces: Sequence[Any]) -> int:
        """Return the number of bytes written; 0 if there is no room now."""
        try:
            return self._socket.send(pieces[0]) if len(pieces) == 1 else self._socket.sendmsg(pieces)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            self._dead = True
            return 0


def _memory(size: int) -> bytearray | mmap.mmap:
    """Return memory for a frame: where it is fresh in any case in huge pages, which take a third of the time.

    Raises:
        MemoryError, OSError: there is none.
    """
    if size < MAPPED or not hasattr(mmap, "MADV_HUGEPAGE"):
        return bytearray(size)
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # the system has no huge pages
        memory.madvise(mmap.MADV_HUGEPAGE)
    return memory


def _sane(size: int) -> int:
    if size > LONGEST_FRAME:
        raise FrameError("this is no stream of frames")
    return size
