"""The client's sockets: one for engines on this host, one through the controller."""

from __future__ import annotations

import os
import shutil
import socket as network
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import zmq

from nbpar.wire.frames import FrameError, Message, decode, encode
from nbpar.wire.signing import Signer
from nbpar.worker.sockets import DELIMITER, send_frames

BURST = 256
"""Messages that are read from one socket before the others get their turn."""

LONGEST_ADDRESS = 100
"""A Unix socket's name may not be longer (sockaddr_un holds 108 bytes on Linux, 104 on macOS)."""


class ClientSockets:
    """Both sockets and the pipe that wakes them; used by one thread, but for `wake`."""

    def __init__(self, client: Any, *, local: bool) -> None:
        self._context: zmq.Context[Any] = zmq.Context()
        self.identity = b"nbpar." + os.urandom(8).hex().encode()
        self._signer = Signer(client.session.key)
        self._client = client
        self._poller = zmq.Poller()
        self._woken, self._waker = network.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        self._poller.register(self._woken, zmq.POLLIN)
        self._directory: Path | None = None
        self.address = ""
        self._local = self._bind_local() if local and _has_unix_sockets() else None
        self._far: zmq.Socket[bytes] | None = None
        self._open_far()
        self.dropped = 0

    def send(self, identity: bytes, messages: Sequence[Message], *, local: bool) -> None:
        """Send messages to one worker."""
        frames = encode(messages)
        if local and self._local is not None:
            send_frames(self._local, [identity, *frames])
        elif self._far is not None:
            send_frames(self._far, [identity, DELIMITER, self._signer.sign(self.identity, frames), *frames])

    def receive(self, timeout: float | None, handles: Sequence[int]) -> list[tuple[bytes, list[Message]]]:
        """Return what has arrived, by identity; also when a handle is readable or `wake` was called."""
        for handle in handles:
            self._poller.register(handle, zmq.POLLIN)
        try:
            ready = dict(self._poller.poll(None if timeout is None else int(timeout * 1000 + 0.999)))
        finally:
            for handle in handles:
                self._poller.unregister(handle)
        arrived: list[tuple[bytes, list[Message]]] = []
        if self._woken.fileno() in ready:
            self._drain()
        if self._local is not None and self._local in ready:
            self._read(self._local, arrived, signed=False)
        if self._far is not None and self._far in ready:
            self._read(self._far, arrived, signed=True)
        return arrived

    def wake(self) -> None:
        """Make `receive` return now; safe from any thread."""
        try:
            self._waker.send(b"\0")
        except OSError:
            pass  # full, so it will wake anyway; or closed

    def close(self) -> None:
        """Close everything and remove the socket's directory."""
        for socket in (self._local, self._far):
            if socket is not None:
                socket.close(linger=0)
        self._context.term()
        self._woken.close()
        self._waker.close()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)

    def _bind_local(self) -> zmq.Socket[bytes]:
        self._directory = _private_directory()
        socket: zmq.Socket[bytes] = self._context.socket(zmq.ROUTER)
        self._unlimited(socket)
        self.address = f"ipc://{self._directory}/s"
        socket.bind(self.address)
        self._poller.register(socket, zmq.POLLIN)
        return socket

    def _open_far(self) -> None:
        from ipyparallel import util

        socket = self._context.socket(zmq.DEALER)
        self._unlimited(socket)
        socket.identity = self.identity
        util.connect(
            socket, self._client._config["control"], curve_serverkey=self._client.curve_serverkey,  # noqa: SLF001
            curve_secretkey=self._client.curve_secretkey, curve_publickey=self._client.curve_publickey,
        )  # fmt: skip
        self._far = socket
        self._poller.register(socket, zmq.POLLIN)

    @staticmethod
    def _unlimited(socket: zmq.Socket[bytes]) -> None:
        socket.sndhwm = socket.rcvhwm = 0  # what is under way is bounded by the scheduler

    def _read(
        self, socket: zmq.Socket[bytes], arrived: list[tuple[bytes, list[Message]]], *, signed: bool
    ) -> None:
        for _ in range(BURST):
            try:
                identity, *frames = socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                arrived.append((identity, decode(self._checked(identity, frames) if signed else frames)))
            except FrameError:
                self.dropped += 1

    def _checked(self, identity: bytes, frames: list[bytes]) -> list[bytes]:
        delimiter, signature, *rest = frames if len(frames) > 2 else (b"", b"")
        if delimiter != DELIMITER or not self._signer.genuine(signature, identity, rest):
            raise FrameError("not signed by an engine")
        return rest

    def _drain(self) -> None:
        try:
            while self._woken.recv(4096):
                pass
        except BlockingIOError:
            pass


def _has_unix_sockets() -> bool:
    return bool(zmq.has("ipc")) and hasattr(network, "AF_UNIX")


def _private_directory() -> Path:
    """Make a directory that only this user can enter, with a name short enough for a socket."""
    for parent in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp"):  # noqa: S108 (the directory is private)
        if parent and len(parent) < LONGEST_ADDRESS - 24 and os.access(parent, os.W_OK):
            return Path(tempfile.mkdtemp(prefix="nbpar-", dir=parent))
    raise OSError("no writable directory with a short name for a Unix socket; set XDG_RUNTIME_DIR to one")
