"""The client's socket to engines through the controller's control queue, with signed, numbered messages."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from typing import Any

import zmq

from nbpar.backends.engines.engine import GARBLED, TOO_LARGE
from nbpar.backends.engines.no_controller import Arrived
from nbpar.backends.engines.poller import POLLIN, Poller
from nbpar.wire.frames import FrameError, decode
from nbpar.wire.messages import Message
from nbpar.wire.pickling import Unreceived
from nbpar.wire.signing import DELIMITER, Correspondence, Signer
from nbpar.worker.heart import SUFFIX
from nbpar.worker.mail.transports import send_frames

BURST = 256
"""Number of messages read from the controller before others get their turn."""


class ControllerSocket:
    """One DEALER socket for all engines; one thread reads, any thread may `send`.

    Its descriptor is edge-triggered: it becomes readable once for each change, so each use checks the
    socket's state afterwards and notes in `there` what the descriptor will not signal any more.

    Args:
        client: the ipyparallel client, for addresses and keys.
        lose: called in the reading thread with an engine's identity when a message of it is missing
            or invalid, and the reason if that is known.
    """

    def __init__(self, client: Any, lose: Callable[[bytes, str], None]) -> None:
        self.identity = b"nbpar." + os.urandom(8).hex().encode()
        self.there = True
        """There may be messages that the descriptor does not signal any more."""

        self.lost = False
        """The connection was given up, and messages in transit were lost: it must be reopened."""

        self._client = client
        self._lose = lose
        self._signer = Signer(client.session.key)
        self._letters: dict[bytes, Correspondence] = {}
        """Numbered sessions, by the other end's identity."""

        self._hearts: dict[bytes, bytes] = {}
        """Engines by the name of what echoes beside their loop."""

        self.beats: list[bytes] = []
        """Engines that have echoed, for the reading thread to take."""

        self._lock = threading.Lock()  # guards the socket, the sessions and `there`
        self._again = self._closed = False
        """Whether it has been reopened; closed."""

        self._context: zmq.Context[Any] = zmq.Context()
        self._poll = Poller()
        self._socket = self._open()

    @property
    def has_news(self) -> bool:
        """Whether there may be messages to read."""
        return self.there or bool(self._poll.wait(0))

    def admit(self, identity: bytes) -> None:
        """Accept messages of one more engine."""
        with self._lock:
            self._letters[identity] = Correspondence(self._signer, self.identity, identity, greeted=True)
            self._hearts[identity + SUFFIX] = identity

    def dismiss(self, identity: bytes) -> None:
        """Stop accepting messages of an engine."""
        with self._lock:
            self._letters.pop(identity, None)
            self._hearts.pop(identity + SUFFIX, None)

    def feel(self, identity: bytes) -> None:
        """Ask what echoes beside an engine's loop, which needs no Python for that."""
        with self._lock:
            if not self._closed and not send_frames(self._socket, [identity + SUFFIX, DELIMITER]):
                self.lost = True

    def send(self, identity: bytes, frames: Sequence[Any]) -> bool:
        """Send one message; return whether the reading thread has to look, whatever its descriptor says."""
        with self._lock:
            if self._closed or (letters := self._letters.get(identity)) is None:
                return False
            if not send_frames(self._socket, letters.enclosed(frames)):
                self.lost = True
                return True
            there = bool(int(self._socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN)
            self.there = self.there or there
            return there

    def read(self) -> Arrived:
        """Return up to `BURST` messages; `there` stays set if there may be more."""
        read: list[list[bytes]] = []
        with self._lock:
            self.there = True
            try:
                while len(read) < BURST:
                    read.append(_take_frames(self._socket))
            except zmq.Again:
                self.there = False
        arrived: Arrived = []
        for identity, *frames in read:
            letters = self._letters.get(identity)
            if letters is None and (beating := self._hearts.get(identity)) is not None:
                self.beats.append(beating)
            if letters is not None and (messages := self._opened(identity, letters, frames)):
                arrived.append((identity, messages))
        return arrived

    def reopen(self) -> None:
        """Open another connection under the same name: losses are detected by the messages' numbers."""
        with self._lock:
            self.lost, self._again, self.there = False, True, True
            self._poll.remove(self.handle)
            self._socket.close(linger=0)
            self._socket = self._open()

    def close(self) -> None:
        """Close it; what is sent afterwards is dropped."""
        with self._lock:
            self._closed = True
            self._socket.close(linger=0)
        self._context.term()
        self._poll.close()

    def _open(self) -> zmq.Socket[bytes]:
        from ipyparallel import util

        socket: zmq.Socket[bytes] = self._context.socket(zmq.DEALER)
        socket.sndhwm = socket.rcvhwm = 0  # messages in flight are bounded by the scheduler and by credit
        socket.identity = self.identity
        util.connect(
            socket, self._client._config["control"], curve_serverkey=self._client.curve_serverkey,  # noqa: SLF001
            curve_secretkey=self._client.curve_secretkey, curve_publickey=self._client.curve_publickey,
        )  # fmt: skip
        self.handle = int(socket.getsockopt(zmq.FD))
        self._poll.add(self.handle, POLLIN)
        return socket

    def _opened(self, identity: bytes, letters: Correspondence, frames: list[bytes]) -> list[Message]:
        """Return the messages of an engine; an invalid or missing one ends the session."""
        messages: list[Message] = []
        reason = TOO_LARGE if self._again else ""
        if Unreceived in map(type, frames):
            reason, letters.broken = TOO_LARGE, True
        elif opened := letters.opened(frames):
            try:
                messages = decode(opened)
            except FrameError:
                reason, letters.broken = GARBLED, True
        if letters.broken:
            self._lose(identity, reason)
        return messages


def _take_frames(socket: zmq.Socket[bytes]) -> list[bytes]:
    """Return the frames of one message, without those that do not fit into memory; it is then not authentic.

    Raises:
        zmq.Again: there is no message.
    """
    frames = [socket.recv(zmq.NOBLOCK)]
    while socket.getsockopt(zmq.RCVMORE):
        try:
            frames.append(socket.recv(zmq.NOBLOCK))
        except MemoryError:
            frames.append(Unreceived())
    return frames
