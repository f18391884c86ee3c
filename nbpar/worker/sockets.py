"""The worker's socket: to the client's Unix socket, or through the controller.

Frames through the controller carry the client's identity, then the delimiter by which the
hub knows that they are none of its business, then a signature.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import zmq

from nbpar.wire.frames import FrameError, Message, decode, encode
from nbpar.wire.signing import Signer

DELIMITER = b"<IDS|MSG>"

COPY_BELOW = 1 << 16
"""Frames smaller than this are cheaper to copy than to share with the socket's thread."""


class SocketTransport:
    """One DEALER socket; what is malformed or not genuine is dropped and counted."""

    def __init__(
        self, socket: zmq.Socket[bytes], identity: bytes, *, client: bytes = b"", signer: Signer | None = None
    ) -> None:
        self._socket = socket
        self._client = client
        self._signer = signer
        self._identity = identity
        self._poller = zmq.Poller()
        self._poller.register(socket, zmq.POLLIN)
        self.dropped = 0

    def receive(self, timeout: float) -> list[Message]:
        messages: list[Message] = []
        if not self._poller.poll(int(timeout * 1000)):
            return messages
        while True:
            try:
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return messages
            try:
                messages += decode(self._checked(frames))
            except FrameError:
                self.dropped += 1

    def send(self, messages: Sequence[Message]) -> None:
        frames = encode(messages)
        if self._signer is not None:
            frames = [self._client, DELIMITER, self._signer.sign(self._identity, frames), *frames]
        send_frames(self._socket, frames)

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
