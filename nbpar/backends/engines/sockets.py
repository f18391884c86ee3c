"""The client's connections to engines: streams, directly or through ssh, and a socket to the controller."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nbpar.backends.engines.engine import GARBLED, TOO_LARGE
from nbpar.backends.engines.local_server import Connection, LocalServer, has_unix_sockets
from nbpar.backends.engines.no_controller import Arrived, NoController
from nbpar.backends.engines.poller import POLLIN, POLLOUT, Poller
from nbpar.wire.frames import FrameError, decode, encode
from nbpar.wire.messages import Message
from nbpar.worker.mail.wakeup import Wakeup


class ClientSockets:
    """All of them; one thread receives, any thread may `send` and `wake`.

    Args:
        client: the ipyparallel client; None if all engines are on this host.
        directory: for the socket that streams lead to, if any.
        handle: one more descriptor; `receive` returns when it is readable.
        fits: returns whether a large message of a given size fits into memory.
    """

    def __init__(
        self,
        client: Any,
        directory: Path | None,
        handle: int | None = None,
        fits: Callable[[int], bool] = lambda _: True,
    ) -> None:
        self._far = self._way_through_controller(client)
        self.identity = self._far.identity
        self._bell = Wakeup()
        self._poller = Poller()
        self._crowded: set[int] = set()
        """Connections with unsent data."""

        self._behind: deque[Connection] = deque()
        """Those to which something was left to be sent since `receive` began; any thread may add one."""

        self._local = LocalServer(directory, fits) if directory is not None and has_unix_sockets() else None
        self.address = "" if self._local is None else self._local.address
        for readable in (self._bell.handle, handle, self._far.handle, self._local and self._local.handle):
            if readable is not None:
                self._poller.add(readable, POLLIN)
        self._receiver = 0
        """The receiving thread, which must not wait when it sends."""

        self.cut: list[bytes] = []
        """Identities of engines with cut connections, for the receiving thread to take."""

        self.why: dict[bytes, str] = {}
        """The reason, if known."""

        self.only_messages = False
        """Whether the last `receive` returned because of messages only."""

    def admit(self, identity: bytes) -> None:
        """Accept messages from one more worker."""
        if self._local is not None:
            if self._local.missing:
                self._poller.remove(self._local.handle)
                self._local.restore()
                self._poller.add(self._local.handle, POLLIN)
            self._local.admit(identity)
        self._far.admit(identity)

    def dismiss(self, identity: bytes) -> None:
        """Stop accepting messages from a worker."""
        self.why.pop(identity, None)
        if self._local is not None:
            self._local.dismiss(identity)
        self._far.dismiss(identity)

    def send(self, identity: bytes, messages: Sequence[Message], *, stream: bool) -> None:
        """Send messages to one worker, by its stream or through the controller; thread-safe."""
        frames = encode(messages)
        if stream and self._local is not None:
            if self._local.send(identity, frames, patient=threading.get_ident() != self._receiver):
                if (connection := self._local.connection(identity)) is not None:
                    self._behind.append(connection)
                self._bell.ring()
            return
        if self._far.send(identity, frames):
            self._bell.ring()

    def in_transit(self, identity: bytes) -> tuple[int, int]:
        """Unsent bytes for an engine that has a stream, and missing ones of a large frame of it."""
        connection = self._local.connection(identity) if self._local is not None else None
        return (0, 0) if connection is None else (connection.unsent, connection.incoming.missing)

    def feel(self, identity: bytes) -> None:
        """Ask what echoes beside the loop of an engine on another host."""
        self._far.feel(identity)

    def take_beats(self) -> list[bytes]:
        """Return the engines that have echoed since the last call."""
        beats: list[bytes] = self._far.beats
        self._far.beats = []
        return beats

    def receive(self, timeout: float | None) -> Arrived:
        """Return the received messages, by identity; also if the handle is readable or `wake` was called."""
        self._receiver = threading.get_ident()
        if self._far.lost:
            self._open_far_again()
        if self._local is not None:
            self._await_room(self._local)
        ready, arrived = self._sleep(0 if self._far.there else timeout)
        far = self._far.there
        self.only_messages = True
        for handle, _ in ready:
            if handle == self._bell.handle:
                self._bell.still()
                self.only_messages = False
            elif handle == self._far.handle:
                far = True
            elif self._local is None or not self._serve(self._local, handle, arrived):
                self.only_messages = False
        if far:
            arrived += self._far.read()
        return arrived

    def wake(self) -> None:
        """Make `receive` return now; thread-safe."""
        self._bell.ring()

    def close(self) -> None:
        """Close everything and remove the socket's directory."""
        self._far.close()
        if self._local is not None:
            self._local.close()
        self._poller.close()
        self._bell.close()

    # ---- streams

    def _serve(self, local: LocalServer, handle: int, arrived: Arrived) -> bool:
        """Read from a connection, or accept a new one; False for a handle that the caller must check."""
        connection = local.connections.get(handle)
        if connection is None:
            if handle == local.handle and (new := local.accept()) is not None:
                self._poller.add(new.handle, POLLIN)
            return False
        arrived += self._read_near(local, connection)
        if connection.incoming.ended:
            self._poller.remove(handle)
            self._crowded.discard(handle)
            local.forget(connection)
            self.cut.append(connection.identity)
            return False
        return True

    def _read_near(self, local: LocalServer, connection: Connection) -> Arrived:
        """Return the messages of an engine; an invalid one ends its connection."""
        arrived: Arrived = []
        try:
            for frames in local.read(connection):
                arrived.append((connection.identity, decode(frames)))
        except FrameError:
            self.why[connection.identity] = GARBLED
            local.refuse(connection)
        except MemoryError:
            self.why[connection.identity] = TOO_LARGE
            local.refuse(connection)
        return arrived

    def _await_room(self, local: LocalServer) -> None:
        """Go on with what has not gone yet, and be told when there is room for more."""
        while self._behind:
            connection = self._behind.popleft()
            if local.connections.get(connection.handle) is connection:  # it may have been cut
                self._crowded.add(connection.handle)
        for handle in list(self._crowded):
            connection = local.connections[handle]
            connection.flush()
            self._expect_room(connection)

    def _expect_room(self, connection: Connection) -> None:
        if connection.waiting:
            self._poller.expect(connection.handle, POLLIN | POLLOUT)
        else:
            self._crowded.discard(connection.handle)
            self._poller.expect(connection.handle, POLLIN)

    def _sleep(self, timeout: float | None) -> tuple[list[tuple[int, int]], Arrived]:
        """Return the descriptors that are ready, and what has been read already."""
        return self._poller.wait(timeout), []

    # ---- through the controller

    def _way_through_controller(self, client: Any) -> Any:
        if client is None:
            return NoController()
        from nbpar.backends.engines.controller_socket import ControllerSocket

        return ControllerSocket(client, self._lose)

    def _open_far_again(self) -> None:
        self._poller.remove(self._far.handle)
        self._far.reopen()
        self._poller.add(self._far.handle, POLLIN)

    def _lose(self, identity: bytes, reason: str) -> None:
        """Note that nothing more can be understood of an engine, and why if that is known."""
        if reason:
            self.why.setdefault(identity, reason)
        self.cut.append(identity)
