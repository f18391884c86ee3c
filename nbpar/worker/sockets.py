"""The worker's way to the client: a stream on the same host, or a socket through the controller.

Any thread may send; one at a time polls and receives.  What goes through the controller is signed.
"""

from __future__ import annotations

import select
import socket as network
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import zmq

from nbpar.wire.frames import Decoder, FrameError, encode
from nbpar.wire.messages import Message
from nbpar.wire.signing import Correspondence, Signer
from nbpar.wire.stream import Incoming, Outgoing, enlarge
from nbpar.worker.bell import Bell
from nbpar.worker.spin import FAR, Spin

COPY_BELOW = 1 << 16
"""Frames smaller than this are cheaper to copy than to share with the socket's thread."""


class _Way(ABC):
    """What both ways have in common: somebody waits for messages, and can be woken."""

    def __init__(self, bell: Bell) -> None:
        self._bell = bell
        self.decoder = Decoder()

    @property
    def ended(self) -> bool:
        """Whether the client has gone, or what it said."""
        return False

    def receive(self, timeout: float) -> list[Message]:
        """Return what has arrived; waits for the first message, or for `timeout` seconds."""
        messages = self._read()
        if messages or not timeout:
            return messages
        deadline = time.monotonic() + timeout
        while not messages and not self.ended and (left := deadline - time.monotonic()) > 0:
            self.poll(left)
            messages = self._read()
        return messages

    def wake(self) -> None:
        """Make `poll` return now; safe from any thread."""
        self._bell.ring()

    def close(self) -> None:
        """Free the descriptors."""
        self._bell.close()

    @abstractmethod
    def poll(self, timeout: float) -> None:
        """Wait until there may be something to read, or until woken, or for `timeout` seconds."""

    @abstractmethod
    def send(self, messages: Sequence[Message]) -> None:
        """Send messages; safe from any thread."""

    @abstractmethod
    def _read(self) -> list[Message]:
        """Return what is there, without waiting."""


class StreamTransport(_Way):
    """A Unix socket to a client on this host."""

    def __init__(self, address: str, identity: bytes) -> None:
        self._socket = network.socket(network.AF_UNIX, network.SOCK_STREAM)
        self._socket.connect(address)
        enlarge(self._socket)
        self._incoming = Incoming(self._socket)
        self._outgoing = Outgoing(self._socket)
        self._sending = threading.Lock()
        super().__init__(Bell(self._socket.fileno()))
        self._write([identity])

    @property
    def ended(self) -> bool:
        return self._incoming.ended

    def poll(self, timeout: float) -> None:
        if not self._incoming.ended:
            self._bell.wait(timeout)

    def send(self, messages: Sequence[Message]) -> None:
        self._write(encode(messages))

    def close(self) -> None:
        self._socket.close()
        super().close()

    def _read(self) -> list[Message]:
        messages: list[Message] = []
        try:
            arrived = self._incoming.read()
        except FrameError:
            self.decoder.dropped += 1
            self._incoming.ended = True
            return messages
        for frames in arrived:
            messages += self.decoder.decode(frames)
        return messages

    def _write(self, frames: Sequence[Any]) -> None:
        with self._sending:
            self._outgoing.send(frames)
            while self._outgoing.waiting:
                select.select([], [self._socket], [], 1.0)
                self._outgoing.flush()


class SocketTransport(_Way):
    """One DEALER socket; what is malformed or not genuine is dropped and counted.

    The socket itself is guarded by a lock, and its descriptor is what is waited for: it becomes
    readable once for each change, so whoever uses the socket has to look at its state afterwards.
    """

    def __init__(self, socket: zmq.Socket[bytes], identity: bytes, *, client: bytes, signer: Signer) -> None:
        self._socket = socket
        self._client = client
        self._letters = Correspondence(signer, identity, client)
        self._lock = threading.Lock()
        self._there = True
        """Something may be there that the descriptor does not tell of any more."""

        super().__init__(Bell(int(socket.getsockopt(zmq.FD)), spin=Spin(FAR)))

    @property
    def ended(self) -> bool:
        return self._letters.broken

    def poll(self, timeout: float) -> None:
        if not self._there:
            self._bell.wait(timeout)

    def send(self, messages: Sequence[Message]) -> None:
        frames = encode(messages)
        with self._lock:
            send_frames(self._socket, self._letters.enclosed(frames))
            there = bool(int(self._socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN)
            self._there = self._there or there
        if there:
            self._bell.ring()

    def close(self) -> None:
        self._socket.close()
        super().close()

    def _read(self) -> list[Message]:
        messages: list[Message] = []
        for client, *frames in self._arrived():
            if client == self._client:
                messages += self.decoder.decode(self._letters.opened(frames))
        return messages

    def _arrived(self) -> list[list[bytes]]:
        arrived: list[list[bytes]] = []
        with self._lock:
            self._there = False
            try:
                while True:
                    arrived.append(self._socket.recv_multipart(zmq.NOBLOCK))
            except zmq.Again:
                return arrived


def send_frames(socket: zmq.Socket[bytes], frames: Sequence[Any]) -> None:
    """Send frames as one message, sharing memory where that pays."""
    large = any(len(frame) > COPY_BELOW for frame in frames)
    socket.send_multipart(frames, copy=not large)
