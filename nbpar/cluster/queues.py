"""The controller's message queues, which fail aloud when they cannot have their ports.

zmq's own bind in the thread that they start.  When a port has been taken meanwhile, the thread
dies, the controller looks well, and whatever is sent through that queue is lost.
"""

from __future__ import annotations

from typing import Any

from zmq.devices import ThreadMonitoredQueue


class BoundQueue(ThreadMonitoredQueue):
    """A monitored queue that binds in the thread that starts it."""

    def start(self) -> None:
        """Bind, then forward messages in a thread.

        Raises:
            ZMQError: a port is taken.
        """
        self._bound = super()._setup_sockets()  # type: ignore[no-untyped-call]
        super().start()

    def _setup_sockets(self) -> Any:
        return self._bound
