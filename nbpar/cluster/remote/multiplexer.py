"""Many byte streams and lines of text over one pair of pipes, with flow control for each stream.

Both ends of an ssh connection run one.  A stream has a window, as in SSH's own connection protocol
(RFC 4254, section 5.2): the sender may be only that many bytes ahead of what the other side has
written to its socket, so a slow reader holds up its own stream alone.
"""

from __future__ import annotations

import hmac
import os
import selectors
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from hashlib import blake2b
from typing import Protocol

from nbpar.cluster.remote import SILENCE

HEADER = struct.Struct("!BII")
"""Kind, number of the stream, length of what follows."""

LINE, OPEN, DATA, CLOSE, CREDIT, PING = range(6)

BLOCK = 1 << 17
"""Bytes that are read at once from a stream; short, so that an interrupt waits for little."""

WINDOW = 1 << 22
"""Bytes that a stream may be ahead."""

BACKLOG = 1 << 20
"""Bytes waiting for the pipe from which on streams are not read."""

SIGNATURE = 24
"""Bytes of a signature."""

LONGEST = 1 << 26
"""Bytes of a frame that no sender makes: what arrives is something else."""

PING_EVERY = 5.0
"""Seconds between two signs of life; fewer if the other side is given up soon."""

LONGEST_LOGIN = 1800.0
"""The same before the first frame, when packages may be installed."""


class HasDescriptor(Protocol):
    """Something that can be polled."""

    def fileno(self) -> int:
        """Its descriptor."""


Readable = int | HasDescriptor


class FrameError(Exception):
    """What arrived is no frame."""


class Events(Protocol):
    """Receives what the other side says."""

    def line(self, text: bytes) -> None:
        """A line of text has come."""

    def opened(self, payload: bytes) -> socket.socket | None:
        """The other side opens a stream; returns the socket for it, None to refuse."""


class _Stream:
    """One byte stream between a socket here and one there."""

    def __init__(self, number: int, link: socket.socket) -> None:
        link.setblocking(False)
        self.number = number
        self.link = link
        self.unsent: deque[bytes] = deque()
        """Data for the socket."""

        self.credit = WINDOW
        """Bytes that may still be sent to the other side."""

        self.owed = 0
        """Bytes written to the socket that the other side has not been told of."""

        self.greeting = b""
        """Data for the socket as soon as the other side has accepted the stream."""

        self.closing = False
        """Whether the other side has closed it."""

        self.interest = 0


class Multiplexer:
    """Serves streams and lines over two descriptors until they end.  For one thread.

    Args:
        incoming: descriptor to read from.
        outgoing: descriptor to write to.
        events: receives lines and new streams.
        first: number of the first stream that this side opens; the two sides must differ in parity.
        preamble: takes what comes before the first frame out of a buffer; returns whether that was all.
        silence: seconds without a sign of life until the other side counts as gone.
        seal: key that signs lines, b"" where the way between both sides is safe by itself.
    """

    def __init__(
        self,
        incoming: int,
        outgoing: int,
        events: Events,
        *,
        first: int,
        preamble: Callable[[bytearray], bool] | None = None,
        silence: float = SILENCE,
        seal: bytes = b"",
    ) -> None:
        self._silence = silence
        self._ping_every = min(PING_EVERY, silence / 4)
        self.seal = seal
        self._sealed = {first % 2: 0, (first + 1) % 2: 0}
        """Number of signed lines of each side, by the parity of its streams."""

        self._preamble = preamble
        self._incoming = incoming
        self._outgoing = outgoing
        self._events = events
        self._next = first
        self.ended = ""
        """Why it has ended, "" while it has not."""

        self.silent = False
        """Whether it has ended because nothing was heard."""

        self._streams: dict[int, _Stream] = {}
        self._arrived = bytearray()
        self._backlog: deque[memoryview] = deque()
        self._backlog_size = 0
        self._choked = False
        self._heard = self._spoke = time.monotonic()
        self._selector = selectors.DefaultSelector()
        for descriptor in (incoming, outgoing):
            os.set_blocking(descriptor, False)
        self._selector.register(incoming, selectors.EVENT_READ, lambda _: self._read())
        self._writing = False

    # ---- from outside

    @property
    def waiting(self) -> bool:
        """Whether there is unsent data for the other side."""
        return bool(self._backlog)

    def fileno(self) -> int:
        """A descriptor that can be read when `step` has something to do, on Linux and the BSDs."""
        return self._selector.fileno()

    def watch(self, source: Readable, handler: Callable[[], None]) -> None:
        """Call `handler` when `source` can be read."""
        self._selector.register(source, selectors.EVENT_READ, lambda _: handler())

    def unwatch(self, source: Readable) -> None:
        """Stop that."""
        with suppress(KeyError, ValueError):
            self._selector.unregister(source)

    def send_raw(self, data: bytes) -> None:
        """Send bytes that are no frame, before the first frame."""
        self._queue(data)

    def send_line(self, text: bytes) -> None:
        """Send a line."""
        self._send(LINE, 0, self._signature(self._next % 2, text) + text)

    def open(self, link: socket.socket, payload: bytes, greeting: bytes = b"") -> None:
        """Open a stream for a socket, which gets the greeting if it is accepted, and is closed if not."""
        number, self._next = self._next, self._next + 2
        self._send(OPEN, number, payload)
        self._add(number, link).greeting = greeting

    def step(self, timeout: float | None = None) -> None:
        """Wait for something to do, up to `timeout` seconds or the next ping, and do it."""
        longest = self._ping_every if timeout is None else min(timeout, self._ping_every)
        for key, events in self._selector.select(longest):
            if not self.ended:
                key.data(events)
        now = time.monotonic()
        if now - self._spoke >= self._ping_every and not self._backlog:
            self._send(PING, 0, b"")
        longest = self._silence if self._preamble is None else LONGEST_LOGIN
        if now - self._heard > longest and not self.ended:
            self.silent = True
            self._end(f"it has been silent for {longest:g} s")

    def close(self) -> None:
        """Close the streams; the two descriptors belong to the caller."""
        for stream in list(self._streams.values()):
            self._drop(stream)
        self._selector.close()
        self._end("closed")

    # ---- the pipes

    def _read(self) -> None:
        try:
            block = os.read(self._incoming, 1 << 18)
        except BlockingIOError:
            return
        except OSError as error:
            self._end(error.strerror or str(error))
            return
        if not block:
            self._end("it has closed the connection")
            return
        self._heard = time.monotonic()
        self._arrived += block
        self._parse()

    def _parse(self) -> None:
        data, place = self._arrived, 0
        if self._preamble is not None:
            if not self._preamble(data):
                return
            self._preamble = None
        while len(data) - place >= HEADER.size and not self.ended:
            kind, number, length = HEADER.unpack_from(data, place)
            if kind > PING or length > LONGEST:
                self._end("what it says cannot be understood")
                raise FrameError
            end = place + HEADER.size + length
            if len(data) < end:
                break
            self._handle(kind, number, bytes(memoryview(data)[place + HEADER.size : end]))
            place = end
        del data[:place]

    def _handle(self, kind: int, number: int, payload: bytes) -> None:
        if kind == LINE:
            self._take_line(payload)
        elif kind == OPEN:
            self._accept(number, payload)
        elif (stream := self._streams.get(number)) is None:
            return  # it was closed here meanwhile
        elif kind == DATA:
            stream.unsent.append(payload)
            self._write_to(stream)
        elif kind == CREDIT:
            stream.credit += int.from_bytes(payload, "big")
            if stream.greeting:
                stream.unsent.append(stream.greeting)
                stream.greeting = b""
                self._write_to(stream)
            else:
                self._set_interest(stream)
        elif kind == CLOSE:
            stream.closing = True
            self._write_to(stream)

    def _take_line(self, payload: bytes) -> None:
        size = SIGNATURE if self.seal else 0
        text = payload[size:]
        if not hmac.compare_digest(payload[:size], self._signature((self._next + 1) % 2, text)):
            self._end("a line of it was changed on the way")
            raise FrameError
        self._events.line(text)

    def _signature(self, side: int, text: bytes) -> bytes:
        """The signature of a side's next line; a line that is repeated or left out has another one."""
        if not self.seal:
            return b""
        self._sealed[side] += 1
        place = b"%d %d " % (side, self._sealed[side])
        return blake2b(place + text, key=self.seal, digest_size=SIGNATURE).digest()

    def _accept(self, number: int, payload: bytes) -> None:
        link = self._events.opened(payload)
        if link is None:
            self._send(CLOSE, number, b"")
        else:
            self._add(number, link)
            self._send(CREDIT, number, b"")

    def _send(self, kind: int, number: int, payload: bytes) -> None:
        self._spoke = time.monotonic()
        self._queue(HEADER.pack(kind, number, len(payload)) + payload)

    def _queue(self, data: bytes) -> None:
        self._backlog.append(memoryview(data))
        self._backlog_size += len(data)
        self._flush()

    def _flush(self) -> None:
        try:
            while self._backlog and not self.ended:
                block = self._backlog[0]
                written = os.write(self._outgoing, block)
                self._backlog_size -= written
                if written < len(block):
                    self._backlog[0] = block[written:]
                else:
                    self._backlog.popleft()
        except BlockingIOError:
            pass
        except OSError as error:
            self._end(error.strerror or str(error))
            return
        self._set_writing(bool(self._backlog))
        choked = self._backlog_size > BACKLOG
        if choked != self._choked:
            self._choked = choked
            for stream in self._streams.values():
                self._set_interest(stream)

    def _set_writing(self, wanted: bool) -> None:
        if wanted == self._writing or self.ended:
            return
        self._writing = wanted
        if wanted:
            self._selector.register(self._outgoing, selectors.EVENT_WRITE, lambda _: self._flush())
        else:
            self._selector.unregister(self._outgoing)

    def _end(self, reason: str) -> None:
        self.ended = self.ended or reason

    # ---- the streams

    def _add(self, number: int, link: socket.socket) -> _Stream:
        self._streams[number] = stream = _Stream(number, link)
        self._set_interest(stream)
        return stream

    def _serve_stream(self, stream: _Stream, events: int) -> None:
        if stream.number not in self._streams:  # dropped by what was handled before
            return
        if events & selectors.EVENT_WRITE:
            self._write_to(stream)
        if events & selectors.EVENT_READ and stream.number in self._streams:
            self._read_from(stream)

    def _read_from(self, stream: _Stream) -> None:
        if self._choked or not stream.credit:
            return
        try:
            block = stream.link.recv(min(BLOCK, stream.credit))
        except BlockingIOError:
            return
        except OSError:
            block = b""
        if not block:
            self._hang_up(stream)
            return
        stream.credit -= len(block)
        self._send(DATA, stream.number, block)
        if not stream.credit:
            self._set_interest(stream)

    def _write_to(self, stream: _Stream) -> None:
        try:
            while stream.unsent:
                block = stream.unsent[0]
                written = stream.link.send(block)
                stream.owed += written
                if written < len(block):
                    stream.unsent[0] = block[written:]
                else:
                    stream.unsent.popleft()
        except BlockingIOError:
            pass
        except OSError:
            self._hang_up(stream)
            return
        if stream.closing and not stream.unsent:
            self._drop(stream)
            return
        if stream.owed >= WINDOW // 4:
            self._send(CREDIT, stream.number, stream.owed.to_bytes(8, "big"))
            stream.owed = 0
        self._set_interest(stream)

    def _set_interest(self, stream: _Stream) -> None:
        reads = stream.credit > 0 and not self._choked
        wanted = (selectors.EVENT_READ if reads else 0) | (selectors.EVENT_WRITE if stream.unsent else 0)
        if wanted == stream.interest:
            return
        before, stream.interest = stream.interest, wanted
        if not wanted:
            self._selector.unregister(stream.link)
        elif before:
            self._selector.modify(stream.link, wanted, self._server_of(stream))
        else:
            self._selector.register(stream.link, wanted, self._server_of(stream))

    def _server_of(self, stream: _Stream) -> Callable[[int], None]:
        return lambda events: self._serve_stream(stream, events)

    def _hang_up(self, stream: _Stream) -> None:
        """The socket here is gone: close the stream there, too."""
        if not stream.closing:
            self._send(CLOSE, stream.number, b"")
        self._drop(stream)

    def _drop(self, stream: _Stream) -> None:
        if self._streams.pop(stream.number, None) is None:
            return
        if stream.interest:
            self._selector.unregister(stream.link)
        stream.link.close()
