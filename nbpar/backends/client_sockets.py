"""The client's ways to engines: a stream to each on this host, one socket through the controller."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import zmq

from nbpar.backends.local_server import Connection, LocalServer, has_unix_sockets
from nbpar.backends.poller import POLLIN, POLLOUT, Poller
from nbpar.backends.turn import Turn
from nbpar.wire.frames import Decoder, encode
from nbpar.wire.messages import Message
from nbpar.wire.signing import Correspondence, Signer
from nbpar.worker.bell import Bell
from nbpar.worker.sockets import send_frames
from nbpar.worker.spin import Spin

BURST = 256
"""Messages that are read from the controller before others get their turn."""

Arrived = list[tuple[bytes, list[Message]]]

Taking = Callable[[list[Message]], list[Message]]
"""Takes in what an engine says and returns what it leaves to others, from the first such message on."""


class ClientSockets:
    """All of them; one thread receives, any thread may `send`, `wake` and for a moment `listen`.

    Args:
        client: the ipyparallel client.
        directory: where a socket for engines on this host may be, if at all.
        handle: one more descriptor whose being readable makes `receive` return.
    """

    def __init__(self, client: Any, directory: Path | None, handle: int | None = None) -> None:
        self._context: zmq.Context[Any] = zmq.Context()
        self.identity = b"nbpar." + os.urandom(8).hex().encode()
        self._signer = Signer(client.session.key)
        self._client = client
        self._bell = Bell()
        self._poller = Poller()
        self._poller.add(self._bell.handle, POLLIN)
        if handle is not None:
            self._poller.add(handle, POLLIN)
        self._turn = Turn()
        self._aside: Arrived = []
        """What one who listened has read, and has to be received."""

        self._crowded: set[int] = set()
        """Connections to which something has not gone yet."""

        self._local = LocalServer(directory) if directory is not None and has_unix_sockets() else None
        self.address = ""
        if self._local is not None:
            self.address = self._local.address
            self._poller.add(self._local.handle, POLLIN)
        self._far_lock = threading.Lock()
        self._far_there = True
        """Something may be there that the socket's descriptor does not tell of any more."""

        self._far = self._open_far()
        self._far_handle = int(self._far.getsockopt(zmq.FD))
        self._poller.add(self._far_handle, POLLIN)
        self._far_poll = Poller()
        self._far_poll.add(self._far_handle, POLLIN)
        self._closed = False
        self._receiver = 0
        """The thread that receives; it must not wait when it sends."""

        self._letters: dict[bytes, Correspondence] = {}
        """What is said through the controller, by the identity of who is at the other end."""

        self._decoder = Decoder()
        self.cut: list[bytes] = []
        """Identities of those whose way was cut, for whoever receives to take."""

        self.only_messages = False
        """Whether nothing but messages made `receive` return the last time."""

    def admit(self, identity: bytes) -> None:
        """Take messages from one more worker."""
        with self._far_lock:
            self._letters[identity] = Correspondence(self._signer, self.identity, identity, greeted=True)

    def dismiss(self, identity: bytes) -> None:
        """Take nothing from a worker any more."""
        with self._far_lock:
            self._letters.pop(identity, None)

    def send(self, identity: bytes, messages: Sequence[Message], *, local: bool) -> None:
        """Send messages to one worker; safe from any thread."""
        frames = encode(messages)
        if local and self._local is not None:
            if self._local.send(identity, frames, patient=threading.get_ident() != self._receiver):
                self._bell.ring()
            return
        with self._far_lock:
            if self._closed or (letters := self._letters.get(identity)) is None:
                return
            send_frames(self._far, letters.enclosed(frames))
            there = bool(int(self._far.getsockopt(zmq.EVENTS)) & zmq.POLLIN)
            self._far_there = self._far_there or there
        if there:
            self._bell.ring()

    def receive(self, timeout: float | None) -> Arrived:
        """Return what has arrived, by identity; also when the handle is readable or `wake` was called."""
        self._receiver = threading.get_ident()
        if self._local is not None:
            self._await_room(self._local)
        ready = self._sleep(0 if self._far_there else timeout)
        arrived, self._aside = self._aside, []
        far = self._far_there
        self.only_messages = True
        for handle, _ in ready:
            if handle == self._bell.handle:
                self._bell.still()
                self.only_messages = False
            elif handle == self._far_handle:
                far = True
            elif self._local is None or not self._serve(self._local, handle, arrived):
                self.only_messages = False
        if far:
            self._read_far(arrived)
        return arrived

    def listen(self, identity: bytes, take: Taking, ready: Callable[[], bool], spin: Spin) -> None:
        """Look for a moment, in the caller's thread, whether what a worker says makes `ready()` true.

        What `take` leaves is received as usual, by the one thread that receives.
        """
        if not self._poller.at_once or not self._turn.borrow():
            return
        try:
            if not self._aside and not ready():
                self._listen(identity, take, ready, spin)
        finally:
            self._turn.give_back()

    def wake(self) -> None:
        """Make `receive` return now; safe from any thread."""
        self._bell.ring()

    def close(self) -> None:
        """Close everything and remove the socket's directory."""
        with self._far_lock:
            self._closed = True
            self._far.close(linger=0)
        self._context.term()
        if self._local is not None:
            self._local.close()
        self._poller.close()
        self._far_poll.close()
        self._bell.close()

    # ---- on this host

    def _serve(self, local: LocalServer, handle: int, arrived: Arrived) -> bool:
        """Read from a connection, or take in a new one; False for a handle that somebody else looks at."""
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
        return [
            (identity, messages)
            for identity, frames in local.read(connection)
            if (messages := self._decoder.decode(frames))
        ]

    def _await_room(self, local: LocalServer) -> None:
        """Go on with what has not gone yet, and be told when there is room for more."""
        for connection in list(local.connections.values()):
            if connection.waiting:
                connection.flush()
            if connection.waiting != (connection.handle in self._crowded):
                self._expect_room(connection)

    def _expect_room(self, connection: Connection) -> None:
        if connection.waiting:
            self._crowded.add(connection.handle)
            self._poller.expect(connection.handle, POLLIN | POLLOUT)
        else:
            self._crowded.discard(connection.handle)
            self._poller.expect(connection.handle, POLLIN)

    # ---- one who listens

    def _listen(self, identity: bytes, take: Taking, ready: Callable[[], bool], spin: Spin) -> None:
        local = self._local
        connection = local.connection(identity) if local is not None else None
        if local is None or connection is None:
            handle, news = self._far_handle, self._far_news
        elif connection.handle in self._crowded or connection.incoming.ended:
            return
        else:
            handle, news = connection.handle, partial(self._near_news, local, connection)

        def look() -> bool:
            if self._turn.wanted:
                return True
            return bool(came := news()) and (self._hand_on(came, identity, take) or ready())

        self._poller.expect(handle, 0)
        try:
            spin.look_for(look)
        finally:
            self._poller.expect(handle, POLLIN)
            if self._far_there or self.cut:
                self._bell.ring()

    def _near_news(self, local: LocalServer, connection: Connection) -> Arrived:
        return self._read_near(local, connection) if connection.has_news else []

    def _far_news(self) -> Arrived:
        came: Arrived = []
        if self._far_there or self._far_poll.wait(0):
            self._read_far(came)
        return came

    def _hand_on(self, came: Arrived, identity: bytes, take: Taking) -> bool:
        """Have what a worker said taken; whether something remains for the one who receives."""
        for who, messages in came:
            if self._aside or who != identity:
                self._aside.append((who, messages))
            elif left := take(messages):
                self._aside.append((who, left))
        if self._aside:
            self._bell.ring()
        return bool(self._aside)

    def _sleep(self, timeout: float | None) -> list[tuple[int, int]]:
        """Return the descriptors that are ready; others may read while none is."""
        self._turn.lay_down()
        try:
            return self._poller.wait(timeout)
        finally:
            self._turn.take_up()

    # ---- through the controller

    def _open_far(self) -> zmq.Socket[bytes]:
        from ipyparallel import util

        socket: zmq.Socket[bytes] = self._context.socket(zmq.DEALER)
        socket.sndhwm = socket.rcvhwm = 0  # what is under way is bounded by the scheduler and by credit
        socket.identity = self.identity
        util.connect(
            socket, self._client._config["control"], curve_serverkey=self._client.curve_serverkey,  # noqa: SLF001
            curve_secretkey=self._client.curve_secretkey, curve_publickey=self._client.curve_publickey,
        )  # fmt: skip
        return socket

    def _read_far(self, arrived: Arrived) -> None:
        """Read up to `BURST` messages; `_far_there` stays when there may be more."""
        read: list[list[bytes]] = []
        with self._far_lock:
            self._far_there = True
            try:
                while len(read) < BURST:
                    read.append(self._far.recv_multipart(zmq.NOBLOCK))
            except zmq.Again:
                self._far_there = False
        for identity, *frames in read:
            if (letters := self._letters.get(identity)) is None:
                continue
            if messages := self._decoder.decode(letters.opened(frames)):
                arrived.append((identity, messages))
            if letters.broken:
                self.cut.append(identity)
