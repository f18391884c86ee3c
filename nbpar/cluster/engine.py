"""An ipyparallel engine that counts as registered only when it can be reached.

The controller's queues drop messages for an engine whose connection is not complete, and
their sender waits for ever.  ipyparallel's own engines register so slowly that
this rarely happens; ours would lose that race on a busy machine.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import zmq
from ipyparallel.controller.heartmonitor import Heart
from ipyparallel.engine import app as engine_app
from traitlets import default
from zmq.eventloop.zmqstream import ZMQStream

HANDSHAKE_TIMEOUT = 5.0
"""Seconds to wait for one connection before continuing without; zmq keeps trying anyway."""

REGISTRATION_TIMEOUT = 60.0
"""Seconds for the controller to answer a registration; with ipyparallel's 5, engines of busy hosts end."""

_numbers = itertools.count()


class AnyFamilyHeart(Heart):  # type: ignore[misc]  # ipyparallel has no types
    """A heart that reaches a controller at an address of IPv6, too."""

    def __init__(self, in_addr: str, out_addr: str, *arguments: Any, **options: Any) -> None:
        super().__init__(in_addr, out_addr, *arguments, **options)
        if _is_ipv6(in_addr):
            self.device.setsockopt_in(zmq.IPV6, 1)
            self.device.setsockopt_out(zmq.IPV6, 1)


def _is_ipv6(url: str) -> bool:
    return url.startswith("tcp://[")


class SteadyEngine(engine_app.IPEngine):  # type: ignore[misc]  # ipyparallel has no types
    """An IPEngine whose connections are complete, one after the other, before its heart beats."""

    @default("timeout")  # type: ignore[untyped-decorator]  # traitlets has no types here
    def _default_timeout(self) -> float:
        return REGISTRATION_TIMEOUT

    def init_connector(self) -> tuple[Callable[..., Any], Callable[..., Any]]:
        """Connect the sockets like ipyparallel, and wait until they are connected."""
        connect, maybe_tunnel = super().init_connector()
        engine_app.Heart = AnyFamilyHeart

        def connect_and_wait(socket: Any, url: str, **options: Any) -> Any:
            if _is_ipv6(url):
                socket.setsockopt(zmq.IPV6, 1)
            if self.kernel is not None:  # a later socket, which may be needed at once
                return connect(socket, url, **options)
            raw = socket.socket if isinstance(socket, ZMQStream) else socket  # streams in ipyparallel 8
            monitor = self._watch_handshake(raw)
            try:
                result = connect(socket, url, **options)
                if not monitor.poll(HANDSHAKE_TIMEOUT * 1000):
                    self.log.warning("no connection to %s within %s s", url, HANDSHAKE_TIMEOUT)
            finally:
                raw.monitor(None, 0)  # first, because unread events would block zmq
                monitor.close(linger=0)
            return result

        return connect_and_wait, maybe_tunnel

    def _watch_handshake(self, socket: Any) -> Any:
        """A socket that becomes readable when the connection of `socket` is complete."""
        address = f"inproc://nbpar-handshake-{next(_numbers)}"  # zmq frees a used one with a delay
        socket.monitor(address, zmq.EVENT_HANDSHAKE_SUCCEEDED)
        monitor = self.context.socket(zmq.PAIR)
        monitor.connect(address)
        return monitor
