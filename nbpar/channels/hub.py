"""All channels of one pool."""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING, Any

from nbpar.channels.channel import Channel
from nbpar.channels.port import ClientPort
from nbpar.errors import ChannelError
from nbpar.worker.callbacks import Callbacks

if TYPE_CHECKING:
    from collections.abc import Callable

    from nbpar.channels.client_end import ClientEnd
    from nbpar.wire.messages import Open
    from nbpar.worker.end import End

IDLE = 2.0
"""Seconds that the thread of callbacks waits for the next one."""


class Hub:
    """Ports to the workers of one pool, and the thread in which their callbacks run."""

    def __init__(self, dispatcher: Any, *, in_process: bool) -> None:
        self.dispatcher = dispatcher
        self.in_process = in_process
        self.channel_class: type[Channel] = Channel
        """What users get; set before the first port is made."""

        self._ports: dict[str, ClientPort] = {}
        self._gateways: dict[str, Any] = {}
        self._numbers = itertools.count(1)
        self._news = threading.Condition()
        self._callbacks = Callbacks(self._await_news, name="nbpar callbacks")
        dispatcher.lines.accept = self._accept

    def new_number(self) -> int:
        """Return a number for a channel that begins on this side."""
        return next(self._numbers)

    def port(self, worker: str) -> ClientPort:
        """Return the port to a worker."""
        if worker not in self._ports:
            self._ports[worker] = ClientPort(self, worker, self.channel_class)
        return self._ports[worker]

    def gateway(self, worker: str, make: Callable[[], Any]) -> Any:
        """Return the gateway to a worker; always the same one."""
        if worker not in self._gateways:
            self._gateways[worker] = make()
        return self._gateways[worker]

    def call_back(self, end: End) -> None:
        """Have an end's callback called, in the thread for that."""
        self._callbacks.add(end)
        with self._news:
            self._news.notify_all()

    def _await_news(self, ready: Any) -> None:
        with self._news:
            self._news.wait_for(ready, IDLE)

    def _accept(self, worker: str, opened: Open) -> ClientEnd:
        return self.port(worker).accept(opened)


_lock = threading.Lock()


def hub_of(pool: Any) -> Hub:
    """Return the hub of a pool; the workers are started when they are not here.

    Raises:
        ChannelError: the pool is serial.
    """
    if pool.backend == "serial":
        raise ChannelError(
            'a serial pool has no worker to talk to; use backend="engines" or backend="threads"'
        )
    dispatcher = pool.launcher.dispatcher
    with _lock:
        if dispatcher.lines.hub is None:
            dispatcher.lines.hub = Hub(dispatcher, in_process=pool.backend == "threads")
    hub: Hub = dispatcher.lines.hub
    return hub
