"""The controller's message queues, which fail aloud when they cannot have their ports, and are quick.

zmq's own bind in the thread that they start.  When a port has been taken meanwhile, the thread
dies, the controller looks well, and whatever is sent through that queue is lost.  And each message
is told to the hub, which wakes, unpacks it, and for those of one queue does nothing else.
"""

from __future__ import annotations

from typing import Any

from zmq.devices import ThreadMonitoredQueue

CONTROL = b"incontrol"
"""How the controller marks what clients say through its control queue, which is where nbpar's messages go."""


class BoundQueue(ThreadMonitoredQueue):
    """A monitored queue that binds in the thread that starts it, and tells the hub only what it wants."""

    def start(self) -> None:
        """Bind, then forward messages in a thread.

        Raises:
            ZMQError: a port is taken.
        """
        self._bound = super()._setup_sockets()  # type: ignore[no-untyped-call]
        super().start()

    def connect_mon(self, addr: str) -> None:
        """Let the hub hear what is forwarded, but for the control queue: it passes over all of that."""
        if self._in_prefix != CONTROL:
            super().connect_mon(addr)  # type: ignore[no-untyped-call]

    def _setup_sockets(self) -> Any:
        return self._bound
