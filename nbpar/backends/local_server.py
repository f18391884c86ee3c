"""The client's Unix socket, to which engines on this host connect."""

from __future__ import annotations

import os
import select
import socket as network
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from nbpar.wire.frames import FrameError
from nbpar.wire.stream import Incoming, Outgoing, enlarge

MOMENT = 0.002
"""Seconds that a patient sender waits for room, each time there is none."""


class Connection:
    """One engine's stream; the first frame that comes is its identity."""

    def __init__(self, socket: network.socket) -> None:
        enlarge(socket)
        self.socket = socket
        self.handle = socket.fileno()
        self.identity = b""
        self.incoming = Incoming(socket)
        self._outgoing = Outgoing(socket)
        self._poll: Any = select.poll()
        self._poll.register(self.handle, select.POLLIN)
        self._lock = threading.Lock()  # any thread may send
        self._closed = False

    @property
    def has_news(self) -> bool:
        """Whether there is something to read, or the end."""
        return bool(self._poll.poll(0))

    @property
    def waiting(self) -> bool:
        """Whether something has not gone yet."""
        return self._outgoing.waiting

    def send(self, frames: Sequence[Any], *, patient: bool = False) -> bool:
        """Send as far as it fits, or as goes in a moment; whether something is left for `flush`."""
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
        """Go on with what was left."""
        with self._lock:
            self._outgoing.flush()

    def hang_up(self) -> None:
        """Say and hear no more; whoever waits for something to read learns of it."""
        with suppress(OSError):
            self.socket.shutdown(network.SHUT_RDWR)

    def close(self) -> None:
        """End the connection."""
        with self._lock:
            self._closed = True
            self.socket.close()


class LocalServer:
    """A socket in a private directory and the connections of those who have found it.

    The directory belongs to whoever gives it, and its path is short enough for a socket below it.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / f"pool-{os.urandom(4).hex()}"
        self.address = str(self._path)
        self._listener = network.socket(network.AF_UNIX, network.SOCK_STREAM)
        self._listener.bind(self.address)
        self._listener.listen(128)
        self._listener.setblocking(False)
        self.handle = self._listener.fileno()
        self.connections: dict[int, Connection] = {}
        """By file descriptor."""

        self._known: dict[bytes, Connection] = {}
        self.dropped = 0

    def accept(self) -> Connection | None:
        """Take in one who connects."""
        try:
            socket, _ = self._listener.accept()
        except OSError:
            return None
        connection = Connection(socket)
        self.connections[connection.handle] = connection
        return connection

    def send(self, identity: bytes, frames: Sequence[Any], *, patient: bool = False) -> bool:
        """Send to one engine; whether something is left.  What goes to nobody is dropped."""
        connection = self._known.get(identity)
        return connection is not None and connection.send(frames, patient=patient)

    def connection(self, identity: bytes) -> Connection | None:
        """Return the way of one engine, when it has found here."""
        return self._known.get(identity)

    def read(self, connection: Connection) -> Iterator[tuple[bytes, list[Any]]]:
        """Yield what has come, with the sender's identity."""
        try:
            arrived = connection.incoming.read()
        except FrameError:
            self.dropped += 1
            connection.incoming.ended = True
            connection.hang_up()
            return
        for frames in arrived:
            if connection.identity:
                yield connection.identity, frames
            else:
                connection.identity = bytes(frames[0])
                self._known[connection.identity] = connection

    def forget(self, connection: Connection) -> None:
        """End a connection."""
        self.connections.pop(connection.handle, None)
        self._known.pop(connection.identity, None)
        connection.close()

    def close(self) -> None:
        """End all and remove the socket."""
        for connection in list(self.connections.values()):
            self.forget(connection)
        self._listener.close()
        self._path.unlink(missing_ok=True)


def has_unix_sockets() -> bool:
    """Whether this system can do it."""
    return hasattr(network, "AF_UNIX") and hasattr(network.socket, "sendmsg")
