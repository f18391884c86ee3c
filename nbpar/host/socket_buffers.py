"""The system's buffers of a socket."""

from __future__ import annotations

import socket as network

BUFFER = 1 << 20
"""Bytes of the system's buffer in each direction."""


def enlarge(socket: network.socket) -> None:
    """Enlarge a socket's buffers, so that large frames take fewer steps, and make it non-blocking."""
    for option in (network.SO_SNDBUF, network.SO_RCVBUF):
        socket.setsockopt(network.SOL_SOCKET, option, BUFFER)
    socket.setblocking(False)
