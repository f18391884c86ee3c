"""The worker's way to the client: a stream on the same host, or a socket through the controller.

Any thread may send; one at a time polls and receives.  Frames through the controller carry
the client's identity, then the delimiter by which the hub knows that they are none of its
business, then a signature.
"""

from __future__ import annotations

import select
import socket as network
import threading
import time
from collections.abc import Sequence
from typing import Any

import zmq

from nbpar.wire.frames import FrameError, Message, decode, encode
from nbpar.wire.signing import Signer
from nbpar.wire.stream import Incoming, Outgoing, enlarge
from nbpar.worker.bell import Bell

DELIMITER = b"<IDS|MSG>"

COPY_BELOW = 1 << 16
"""Frames smaller than this are cheaper to copy than to share with the socket's thread."""


class StreamTransport:
    """A Unix socket to a client on this host."""

    def __init__(self, address: str, identity: bytes) -> None:
        self._socket = network.socket(network.AF_UNIX, network.SOCK_STREAM)
        self._socket.connect(address)
        enlarge(self._socket)
        self._incoming = Incoming(self._socket)
        self._outgoing = Outgoing(self._socket)
        self._bell = Bell(self._socket.fileno())
        self._sending = threading.Lock()
        self.dropped = 0
        self._write([identity])

    @property
    def ended(self) -> bool:
        """Whether the client has gone."""
        return self._incoming.ended

    def poll(self, timeout: float) -> None:
        if not self._incoming.ended:
            self._bell.wait(timeout)

    def receive(self, timeout: float) -> list[Message]:
        deadline = time.monotonic() + timeout
        messages = self._read()
        while not messages and not self.ended and (left := deadline - time.monotonic()) > 0:
            self.poll(left)
            messages = self._read()
        return messages

    def send(self, messages: Sequence[Message]) -> None:
        self._write(encode(messages))

    def wake(self) -> None:
        self._bell.ring()

    def close(self) -> None:
        self._socket.close()
        self._bell.close()

    def _read(self) -> list[Message]:
        messages: list[Message] = []
        try:
            arrived = self._incoming.read()
        except FrameError:
            self.dropped += 1
            self._incoming.ended = True
            return messages
        for frames in arrived:
            messages += self._understood(frames)
        return messages

    def _understood(self, frames: Sequence[Any]) -> list[Message]:
        try:
            return decode(frames)
        except FrameError:
            self.dropped += 1
            return []

    def _write(self, frames: Sequence[Any]) -> None:
        with self._sending:
            self._outgoing.send(frames)
            while self._outgoing.waiting:
                select.select([], [self._socket], [], 1.0)
                self._outgoing.flush()


class SocketTransport:
    """One DEALER socket; what is malformed or not genuine is dropped and counted.

    The socket itself is guarded by a lock, and its descriptor is what is waited for: it becomes
    readable once for each change, so whoever uses the socket has to look at its state afterwards.
    """

    ended = False

    def __init__(
        self, socket: zmq.Socket[bytes], identity: bytes, *, client: bytes = b"", signer: Signer | None = None
    ) -> None:
        self._socket = socket
        self._client = client
        self._signer = signer
        self._identity = identity
        self._bell = Bell(int(socket.getsockopt(zmq.FD)))
        self._lock = threading.Lock()
        self._there = True
        """Something may be there that the descriptor does not tell of any more."""

        self.dropped = 0

    def poll(self, timeout: float) -> None:
        if not self._there:
            self._bell.wait(timeout)

    def receive(self, timeout: float) -> list[Message]:
        deadline = time.monotonic() + timeout
        messages = self._read()
        while not messages and (left := deadline - time.monotonic()) > 0:
            self.poll(left)
            messages = self._read()
        return messages

    def send(self, messages: Sequence[Message]) -> None:
        frames = encode(messages)
        if self._signer is not None:
            frames = [self._client, DELIMITER, self._signer.sign(self._identity, frames), *frames]
        with self._lock:
            send_frames(self._socket, frames)
            there = bool(int(self._socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN)
            self._there = self._there or there
        if there:
            self._bell.ring()

    def wake(self) -> None:
        self._bell.ring()

    def close(self) -> None:
        self._socket.close()
        self._bell.close()

    def _read(self) -> list[Message]:
        messages: list[Message] = []
        for frames in self._arrived():
            messages += self._understood(frames)
        return messages

    def _understood(self, frames: list[bytes]) -> list[Message]:
        try:
            return decode(self._checked(frames))
        except FrameError:
            self.dropped += 1
            return []

    def _arrived(self) -> list[list[bytes]]:
        arrived: list[list[bytes]] = []
        with self._lock:
            self._there = False
            try:
                while True:
                    arrived.append(self._socket.recv_multipart(zmq.NOBLOCK))
            except zmq.Again:
                return arrived

    def _checked(self, frames: list[bytes]) -> list[bytes]:
        if self._signer is None:
            return frames
        client, delimiter, signature, *rest = frames if len(frames) > 3 else (b"", b"", b"")
        if delimiter != DELIMITER or not self._signer.genuine(signature, client, rest):
            raise FrameError("not signed by our client")
        return rest


def send_frames(socket: zmq.Socket[bytes], frames: Sequence[Any]) -> None:
    """Send frames as one message, sharing memory where that pays."""
    large = any(len(frame) > COPY_BELOW for frame in frames)
    socket.send_multipart(frames, copy=not large)
