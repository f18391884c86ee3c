"""An ipyparallel engine that counts as registered only when it can be reached.

The controller's queues drop what they get for an engine whose connection is not complete, and
whoever sent it waits for ever.  ipyparallel's own engines are slow enough to register, so that
this hardly happens; ours would lose that race on a busy machine.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import zmq
from ipyparallel.engine.app import IPEngine
from zmq.eventloop.zmqstream import ZMQStream

HANDSHAKE_TIMEOUT = 5.0
"""Seconds to wait for one connection before going on without; zmq keeps trying anyway."""

_numbers = itertools.count()


class SteadyEngine(IPEngine):  # type: ignore[misc]  # ipyparallel has no types
    """An IPEngine whose connections are complete, one after the other, before its heart beats."""

    def init_connector(self) -> tuple[Callable[..., Any], Callable[..., Any]]:
        """Have sockets connected as ipyparallel does, and wait until they are."""
        connect, maybe_tunnel = super().init_connector()

        def connect_and_wait(socket: Any, url: str, **options: Any) -> Any:
            if self.kernel is not None:  # a socket of somebody else's, who may be in a hurry
                return connect(socket, url, **options)
            raw = socket.socket if isinstance(socket, ZMQStream) else socket  # ipyparallel 8 has streams here
            monitor = self._watch_handshake(raw)
            try:
                result = connect(socket, url, **options)
                if not monitor.poll(HANDSHAKE_TIMEOUT * 1000):
                    self.log.warning("no connection to %s within %s s", url, HANDSHAKE_TIMEOUT)
            finally:
                raw.monitor(None, 0)  # first, for events nobody can take would block zmq
                monitor.close(linger=0)
            return result

        return connect_and_wait, maybe_tunnel

    def _watch_handshake(self, socket: Any) -> Any:
        """A socket that becomes readable when `socket` has a complete connection."""
        address = f"inproc://nbpar-handshake-{next(_numbers)}"  # zmq frees a used one when it likes
        socket.monitor(address, zmq.EVENT_HANDSHAKE_SUCCEEDED)
        monitor = self.context.socket(zmq.PAIR)
        monitor.connect(address)
        return monitor
