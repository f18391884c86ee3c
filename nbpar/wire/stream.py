"""Frames over a stream of bytes: how many, how long each is, then the frames themselves.

Large frames are read straight into memory of their own and written straight from where they
are, so they are copied once on each side, by the system.  What was sent as `bytes` arrives as
such; everything else can be written to.
"""

from __future__ import annotations

import socket as network
import struct
from collections import deque
from collections.abc import Sequence
from typing import Any

from nbpar.wire.frames import FrameError
from nbpar.wire.fresh import unwritten_bytes

READ = 1 << 17
"""Bytes that are read at once; a longer frame gets memory of its own."""

BUFFER = 1 << 20
"""Bytes that the system may hold in each direction."""

MOST_FRAMES = 1 << 20
"""More frames than this in one message are taken for garbage."""

LONGEST_FRAME = 1 << 44
"""A longer frame than this is taken for garbage."""

SMALL = 1 << 14
"""Messages smaller than this are joined and written by one call."""

MOST_PIECES = 512
"""Pieces that are written by one call (IOV_MAX is 1024 on Linux)."""

CONSTANT = 1 << 63
"""Set in the length of a frame that was `bytes`."""

ROUNDS = 64
"""Reads from one stream before others get their turn."""

_COUNT = struct.Struct("<I")
_ONE = struct.Struct("<IQ")


def enlarge(socket: network.socket) -> None:
    """Let a socket hold more, so that large frames take fewer turns, and never wait."""
    for option in (network.SO_SNDBUF, network.SO_RCVBUF):
        socket.setsockopt(network.SOL_SOCKET, option, BUFFER)
    socket.setblocking(False)


class Incoming:
    """What comes from a non-blocking socket, message by message."""

    def __init__(self, socket: network.socket) -> None:
        self._socket = socket
        self._buffer = bytearray(READ)
        self._view = memoryview(self._buffer)
        self._start = self._end = 0
        self._sizes: deque[int] = deque()
        """Lengths of the frames that the message under way still lacks."""

        self._frames: list[bytes | bytearray] = []
        self._large: bytes | bytearray | None = None
        """The frame under way that is longer than the buffer."""

        self._rest = self._view[:0]
        """Where what it still lacks is to be written."""

        self.ended = False
        """Whether the other side has gone."""

    def read(self) -> list[list[bytes | bytearray]]:
        """Return the messages that are complete by now; never waits.

        Raises:
            FrameError: these are no frames; nothing that follows can be understood.
        """
        messages: list[list[bytes | bytearray]] = []
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
            if count < len(room) and self._large is None:
                break  # there is nothing more; the rest of a large frame is on its way
        return messages

    def _take_whole(self, count: int, messages: list[list[bytes | bytearray]]) -> bool:
        """Take one small message that came by itself, which is what comes most."""
        if self._end or self._large is not None or self._sizes or self._frames or count < _ONE.size:
            return False
        frames, size = _ONE.unpack_from(self._buffer, 0)
        if frames != 1 or size != count - _ONE.size:
            return False
        messages.append([bytes(self._view[_ONE.size : count])])
        return True

    def _room(self) -> memoryview:
        if self._large is not None:
            return self._rest
        if self._start == self._end:
            self._start = self._end = 0
        return self._view[self._end :]

    def _take(self, count: int, messages: list[list[bytes | bytearray]]) -> None:
        if self._large is None:
            self._end += count
        else:
            self._rest = self._rest[count:]
            if not self._rest:
                self._frames.append(self._large)
                self._large = None
                self._close_message(messages)
        if self._large is None:
            self._parse(messages)

    def _parse(self, messages: list[list[bytes | bytearray]]) -> None:
        while self._large is None and self._begin_message():
            while self._sizes:
                if not self._take_frame():
                    return
            self._close_message(messages)

    def _begin_message(self) -> bool:
        """Read how many frames follow and how long they are; False while that has not arrived."""
        if self._sizes:
            return True
        there = self._end - self._start
        if there >= _ONE.size:
            count, size = _ONE.unpack_from(self._buffer, self._start)
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
        size, there = self._sizes[0] & ~CONSTANT, self._end - self._start
        if size <= there:
            self._frames.append(bytes(self._view[self._start : self._start + size]))
            self._start += size
        elif size <= READ:
            self._move_to_front()
            return False
        else:
            self._large, room = (unwritten_bytes if self._sizes[0] & CONSTANT else _zeros)(size)
            room[:there] = self._view[self._start : self._end]
            self._rest, self._start = room[there:], self._end
        self._sizes.popleft()
        return self._large is None

    def _close_message(self, messages: list[list[bytes | bytearray]]) -> None:
        if not self._sizes and self._large is None:
            messages.append(self._frames)
            self._frames = []

    def _move_to_front(self) -> None:
        if self._start:
            there = self._end - self._start
            self._view[:there] = bytes(self._view[self._start : self._end])
            self._start, self._end = 0, there


class Outgoing:
    """What goes to a non-blocking socket; what does not fit waits for `flush`."""

    def __init__(self, socket: network.socket) -> None:
        self._socket = socket
        self._waiting: deque[memoryview] = deque()
        self._dead = False
        """The other side has gone: what is sent is dropped, and the reader notices."""

    @property
    def waiting(self) -> bool:
        """Whether something has not gone yet."""
        return bool(self._waiting)

    def send(self, frames: Sequence[Any]) -> None:
        """Send frames as one message, as far as they fit; never waits."""
        if len(frames) == 1 and len(frames[0]) < SMALL:
            pieces = [_ONE.pack(1, len(frames[0])) + frames[0]]
        else:
            sizes = [_length(frame) for frame in frames]
            pieces = [struct.pack(f"<I{len(sizes)}Q", len(sizes), *sizes), *frames]
        if not self._waiting and len(pieces) == 1:
            sent = self._write(pieces)
            if sent < len(pieces[0]) and not self._dead:
                self._waiting.append(memoryview(pieces[0])[sent:])
            return
        self._waiting.extend(view for piece in pieces if (view := memoryview(piece).cast("B")).nbytes)
        self.flush()

    def flush(self) -> None:
        """Go on with what is waiting; never waits itself."""
        waiting = self._waiting
        while waiting:
            if self._dead:
                waiting.clear()
                return
            sent = self._write([waiting[at] for at in range(min(len(waiting), MOST_PIECES))])
            if not sent:
                return
            while sent and sent >= waiting[0].nbytes:
                sent -= waiting.popleft().nbytes
            if sent:
                waiting[0] = waiting[0][sent:]

    def _write(self, pieces: Sequence[Any]) -> int:
        """Return how many bytes went; 0 when there is no room now."""
        try:
            return self._socket.send(pieces[0]) if len(pieces) == 1 else self._socket.sendmsg(pieces)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            self._dead = True
            return 0


def _length(frame: Any) -> int:
    return len(frame) | CONSTANT if type(frame) is bytes else memoryview(frame).nbytes


def _zeros(size: int) -> tuple[bytearray, memoryview]:
    frame = bytearray(size)
    return frame, memoryview(frame)


def _sane(size: int) -> int:
    if size & ~CONSTANT > LONGEST_FRAME:
        raise FrameError("this is no stream of frames")
    return size
