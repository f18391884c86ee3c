"""The worker's connection to the client: a stream on the same host, or a socket through the controller.

Any thread may send; one at a time polls and receives.  Messages through the controller are signed.  zmq is
imported by what uses it, because streams do without.
"""

from __future__ import annotations

import os
import select
import socket as network
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from nbpar.host.relay_words import ACCEPTED
from nbpar.host.socket_buffers import enlarge
from nbpar.wire.frames import FrameError, decode, encode
from nbpar.wire.messages import Message
from nbpar.wire.signing import Correspondence, Signer
from nbpar.wire.stream import Incoming, Outgoing
from nbpar.worker.mail.wakeup import Wakeup
from nbpar.worker.spin import FAR, NEAR, AdaptiveSpin

if TYPE_CHECKING:
    import zmq

ACCEPT_WITHIN = 30.0
"""Seconds until a relay says whether there is a connection to the pool."""

COPY_BELOW = 1 << 16
"""Frames smaller than this are cheaper to copy than to share with the socket's thread."""


class _ClientTransport(ABC):
    """The common part of both transports: waiting for messages, and waking."""

    def __init__(self, bell: Wakeup) -> None:
        self._bell = bell
        self.garbled = False
        """Whether the client has sent an invalid message; it counts as gone then."""

    @property
    def ended(self) -> bool:
        """Whether the client has gone, or has sent an invalid message."""
        return False

    def receive(self, timeout: float) -> list[Message]:
        """Return the received messages; waits for the first one, or for `timeout` seconds."""
        messages = self._read()
        if messages or not timeout:
            return messages
        deadline = time.monotonic() + timeout
        while not messages and not self.ended and (left := deadline - time.monotonic()) > 0:
            self.poll(left)
            messages = self._read()
        return messages

    def wake(self) -> None:
        """Make `poll` return now; thread-safe."""
        self._bell.ring()

    def close(self) -> None:
        """Free the descriptors."""
        self._bell.close()

    @abstractmethod
    def poll(self, timeout: float) -> None:
        """Wait until there may be messages, or until woken, or for `timeout` seconds."""

    @abstractmethod
    def send(self, messages: Sequence[Message]) -> None:
        """Send messages; thread-safe."""

    @abstractmethod
    def _read(self) -> list[Message]:
        """Return the available messages, without waiting."""


class StreamTransport(_ClientTransport):
    """A Unix socket to a client on this host, or to what relays its bytes.

    Args:
        socket: the connection.
        identity: what the client knows this worker by.
        far: it leads to another host.
        client_ended: returns whether the client's process has ended; a fork of it would keep the socket open.
    """

    def __init__(
        self,
        socket: network.socket,
        identity: bytes,
        *,
        far: bool = False,
        client_ended: Callable[[], bool] = lambda: False,
    ) -> None:
        self._client_ended = client_ended
        self._socket = socket
        enlarge(self._socket)
        self._incoming = Incoming(self._socket)
        self._outgoing = Outgoing(self._socket)
        self._sending = threading.Lock()
        super().__init__(Wakeup(self._socket.fileno(), spin=AdaptiveSpin(FAR if far else NEAR)))
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
            for frames in self._incoming.read():
                messages += decode(frames)
        except FrameError:
            self.garbled = self._incoming.ended = True
        return messages

    def _write(self, frames: Sequence[Any]) -> None:
        with self._sending:
            self._outgoing.send(frames)
            while self._outgoing.waiting and not self._client_ended():
                _await_room(self._socket)
                self._outgoing.flush()


class SocketTransport(_ClientTransport):
    """One DEALER socket; messages that fail authentication are dropped.

    A lock guards the socket, and threads wait for its descriptor, which becomes
    readable once for each change (edge-triggered), so each use must check the socket's state afterwards.
    """

    def __init__(self, socket: zmq.Socket[bytes], identity: bytes, *, client: bytes, signer: Signer) -> None:
        import zmq

        self._socket = socket
        self._client = client
        self._letters = Correspondence(signer, identity, client)
        self._lock = threading.Lock()
        self._there = True
        """There may be messages that the descriptor does not signal any more."""

        super().__init__(Wakeup(int(socket.getsockopt(zmq.FD)), spin=AdaptiveSpin(FAR)))

    @property
    def ended(self) -> bool:
        return self._letters.broken

    def poll(self, timeout: float) -> None:
        if not self._there:
            self._bell.wait(timeout)

    def send(self, messages: Sequence[Message]) -> None:
        import zmq

        frames = encode(messages)
        with self._lock:
            # copied: the user's code may change what it has returned before the socket's thread sends it
            if not send_frames(self._socket, self._letters.enclosed(frames), share=False):
                self._letters.broken = True
                return
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
            if client == self._client and (opened := self._letters.opened(frames)):
                try:
                    messages += decode(opened)
                except FrameError:
                    self.garbled = self._letters.broken = True
        return messages

    def _arrived(self) -> list[list[bytes]]:
        import zmq

        arrived: list[list[bytes]] = []
        with self._lock:
            self._there = False
            try:
                while True:
                    arrived.append(self._socket.recv_multipart(zmq.NOBLOCK))
            except zmq.Again:
                return arrived


def _await_room(socket: network.socket) -> None:
    """Wait for a moment until more can be sent."""
    if hasattr(select, "poll"):  # which takes any descriptor, other than `select`
        poller = select.poll()
        poller.register(socket, select.POLLOUT)
        poller.poll(1000)
    else:
        select.select([], [socket], [], 1.0)


def connect_stream(address: str) -> network.socket:
    """Connect to a pool on this host."""
    socket = network.socket(network.AF_UNIX, network.SOCK_STREAM)
    try:
        socket.connect(address)
    except BaseException:
        socket.close()
        raise
    return socket


def connect_relayed(address: str, relay: str) -> network.socket | None:
    """Connect to a pool on another host by the stream that leads there; None if it leads to no such pool."""
    try:
        socket = connect_stream(relay)
    except OSError:
        return None
    try:
        socket.settimeout(ACCEPT_WITHIN)
        socket.sendall(os.fsencode(address) + b"\n")
        if socket.recv(len(ACCEPTED)) == ACCEPTED:
            socket.settimeout(None)
            return socket
    except OSError:
        pass
    socket.close()
    return None


def send_frames(socket: zmq.Socket[bytes], frames: Sequence[Any], *, share: bool = True) -> bool:
    """Send frames as one message, large ones shared with its thread; False if the connection is gone.

    zmq reconnects by itself, and queues messages meanwhile.  If it has given up a connection,
    as it does when a message does not fit into memory, a sender would wait for ever.
    """
    import zmq

    large = share and any(len(frame) > COPY_BELOW for frame in frames)
    try:
        socket.send_multipart(frames, zmq.NOBLOCK, copy=not large)
    except zmq.Again:
        return False
    return True
