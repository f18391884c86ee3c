"""Words that an engine on another host and the relay on that host exchange before a pool's stream."""

from __future__ import annotations

POOLS = ":pools"
"""End of the path of the socket that leads to the pools, after that of the controller's sockets."""

ACCEPTED = b"\n"
"""What is read from it first if there is a connection to the pool."""
