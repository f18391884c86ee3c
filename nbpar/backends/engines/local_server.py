"""The client's Unix socket, to which engines on this host connect, and those of other hosts through ssh."""

from __future__ import annotations

import os
import select
import socket as network
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from nbpar.host.socket_buffers import enlarge
from nbpar.wire.frames import FrameError
from nbpar.wire.stream import Incoming, Outgoing

MOMENT = 0.002
"""Seconds that a patient sender waits, each time there is no room."""


class Connection:
    """One engine's stream; its first frame is its identity, which must be expected."""

    def __init__(self, socket: network.socket, fits: Callable[[int], bool]) -> None:
        enlarge(socket)
        self.socket = socket
        self.handle = socket.fileno()
        self.identity = b""
        self.incoming = Incoming(socket, stranger=True, fits=fits)
        self._outgoing = Outgoing(socket)
        self._poll: Any = select.poll()
        self._poll.register(self.handle, select.POLLIN)
        self._lock = threading.Lock()  # any thread may send
        self._closed = False

    @property
    def has_news(self) -> bool:
        """Whether there is data to read, or the end."""
        return bool(self._poll.poll(0))

    @property
    def waiting(self) -> bool:
        """Whether there is unsent data."""
        return self._outgoing.waiting

    @property
    def unsent(self) -> int:
        """Bytes of unsent data."""
        with self._lock:
            return self._outgoing.unsent

    def send(self, frames: Sequence[Any], *, patient: bool = False) -> bool:
        """Send as much as fits, or can be sent in a moment; return whether data is left for `flush`."""
        with self._lock:
            if self._closed:
                return False
            self._outgoing.send(frames)
            while patient and self._outgoing.waiting and self._room_comes():
                self._outgoing.flush()
            return self._outgoing.waiting

    def _room_comes(self) -> bool:
        poller = select.poll()
        poller.register(self.handle, select.POLLOUT)
        return bool(poller.poll(MOMENT * 1000))

    def flush(self) -> None:
        """Send the remaining data."""
        with self._lock:
            self._outgoing.flush()

    def hang_up(self) -> None:
        """Shut down both directions; a blocked reader returns."""
        self.incoming.ended = True
        with suppress(OSError):
            self.socket.shutdown(network.SHUT_RDWR)

    def close(self) -> None:
        """End the connection."""
        with self._lock:
            self._closed = True
            self.socket.close()


class LocalServer:
    """A socket in a private directory, with its connections.

    The directory belongs to the caller, and its path is short enough for a socket in it.

    Args:
        directory: the place of the socket.
        fits: returns whether a large frame of a given size fits into memory.
    """

    def __init__(self, directory: Path, fits: Callable[[int], bool] = lambda _: True) -> None:
        self._fits = fits
        self._path = directory / f"pool-{os.urandom(4).hex()}"
        self.address = str(self._path)
        self._listener = self._listen()
        self.connections: dict[int, Connection] = {}
        """By file descriptor."""

        self._known: dict[bytes, Connection] = {}
        self._expected: set[bytes] = set()
        """Secret identities of engines that may connect."""

        self.dropped = 0
        """Number of connections that were refused, or sent an invalid message."""

    def admit(self, identity: bytes) -> None:
        """Let an engine connect, once."""
        self._expected.add(identity)

    def dismiss(self, identity: bytes) -> None:
        """Stop accepting messages from an engine."""
        self._expected.discard(identity)
        if (connection := self._known.get(identity)) is not None:
            connection.hang_up()

    @property
    def handle(self) -> int:
        """A descriptor that is readable when an engine connects."""
        return self._listener.fileno()

    @property
    def missing(self) -> bool:
        """Whether the socket was cleaned up, like old files below /tmp, and can be recreated."""
        return not self._path.exists() and self._path.parent.is_dir()

    def restore(self) -> None:
        """Recreate the socket; existing connections stay."""
        self._listener.close()
        self._listener = self._listen()

    def _listen(self) -> network.socket:
        listener = network.socket(network.AF_UNIX, network.SOCK_STREAM)
        listener.bind(self.address)
        listener.listen(128)
        listener.setblocking(False)
        return listener

    def accept(self) -> Connection | None:
        """Accept a connection."""
        try:
            socket, _ = self._listener.accept()
            connection = Connection(socket, self._fits)
        except (OSError, MemoryError):
            return None
        self.connections[connection.handle] = connection
        return connection

    def send(self, identity: bytes, frames: Sequence[Any], *, patient: bool = False) -> bool:
        """Send to one engine; return whether data is left.  Messages to unknown engines are dropped."""
        connection = self._known.get(identity)
        return connection is not None and connection.send(frames, patient=patient)

    def connection(self, identity: bytes) -> Connection | None:
        """Return the connection of one engine, if there is one."""
        return self._known.get(identity)

    def read(self, connection: Connection) -> list[list[Any]]:
        """Return the messages of an engine; from a new connection only an expected name is accepted.

        Raises:
            FrameError: it sent an invalid message; nothing that follows can be understood.
        """
        arrived = connection.incoming.read()
        if not connection.identity and arrived:
            self._introduce(connection, bytes(arrived[0][0]))
            arrived = connection.incoming.trust()
        return arrived

    def refuse(self, connection: Connection) -> None:
        """Close a connection that has sent an invalid message."""
        self.dropped += 1
        connection.hang_up()

    def _introduce(self, connection: Connection, identity: bytes) -> None:
        if identity not in self._expected:
            raise FrameError("it is not expected")
        self._expected.discard(identity)
        connection.identity = identity
        self._known[identity] = connection

    def forget(self, connection: Connection) -> None:
        """End a connection."""
        self.connections.pop(connection.handle, None)
        if self._known.get(connection.identity) is connection:
            del self._known[connection.identity]
        connection.close()

    def close(self) -> None:
        """End all and remove the socket."""
        for connection in list(self.connections.values()):
            self.forget(connection)
        self._listener.close()
        self._path.unlink(missing_ok=True)


def has_unix_sockets() -> bool:
    """Whether this system has Unix sockets."""
    return hasattr(network, "AF_UNIX") and hasattr(network.socket, "sendmsg")
