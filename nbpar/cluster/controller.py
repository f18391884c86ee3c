"""An ipyparallel controller in one process that registers engines without delay.

ipyparallel's own waits for one or two heartbeats of three seconds before an engine counts
as registered.  This one pings an engine as soon as it subscribes to the heartbeat,
so that it can have a slow heartbeat and still register engines within milliseconds.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zmq
from ipyparallel import util
from ipyparallel.controller import app as controller_app
from ipyparallel.controller.broadcast_scheduler import BroadcastScheduler, launch_broadcast_scheduler
from ipyparallel.controller.heartmonitor import HeartMonitor
from ipyparallel.controller.hub import EngineConnector, Hub
from traitlets import Float
from traitlets.config import Config
from zmq.devices import ThreadMonitoredQueue
from zmq.eventloop.zmqstream import ZMQStream


class QuickHeartMonitor(HeartMonitor):  # type: ignore[misc]  # ipyparallel has no types
    """Pings an engine as soon as it subscribes, and measures silence in seconds, not in beats."""

    silence = Float(30.0, help="Seconds without an answer after which an engine is given up.", config=True)

    def start(self) -> None:
        super().start()
        self.ping_stream.on_recv(self.handle_subscription)

    def handle_subscription(self, _message: list[bytes]) -> None:
        """An engine has connected to the heartbeat: ping without waiting for the next beat."""
        self.ping_stream.send(str(self.lifetime).encode())

    def handle_pong(self, message: list[bytes]) -> None:
        """Any answer, however late, shows that the engine is alive; the first one registers it."""
        heart = message[0]
        self.responses.add(heart)
        if heart not in self.hearts:
            self.handle_new_hearts({heart})

    def _check_missed(
        self, missed: set[bytes], silent_since: dict[bytes, float], hearts: set[bytes]
    ) -> tuple[list[bytes], dict[bytes, float]]:
        """Remove engines that have been silent for too long, and record the time for the others."""
        now = time.monotonic()
        silent = {heart: silent_since.get(heart, now) for heart in missed if heart in hearts}
        lost = [heart for heart, since in silent.items() if now - since > self.silence]
        return lost, {heart: since for heart, since in silent.items() if heart not in lost}


class ForgivingHub(Hub):  # type: ignore[misc]  # ipyparallel has no types
    """Registers an engine again whose heart had stopped, as that of a host that was cut off, and beats."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._given_up: dict[bytes, EngineConnector] = {}

    def handle_stopped_heart(self, heart: bytes) -> None:
        if (engine_id := self.hearts.get(heart)) is not None:
            self._given_up[heart] = self.engines[engine_id]
        super().handle_stopped_heart(heart)

    def handle_new_heart(self, heart: bytes) -> None:
        lost = self._given_up.pop(heart, None)
        if lost is not None and heart not in self.incoming_registrations:
            # under another number: what was under way with the old one is failed, perhaps not before now
            self.incoming_registrations[heart] = EngineConnector(
                id=self.new_engine_id(), uuid=lost.uuid, ident=lost.ident
            )
        super().handle_new_heart(heart)


class HeartThread(threading.Thread):
    """The heart monitor with an event loop of its own, in this process."""

    def __init__(self, controller: Controller) -> None:
        super().__init__(name="heartmonitor", daemon=True)
        self._controller = controller
        self._sockets: list[Any] = []

    def start(self) -> None:
        """Bind, then beat in a thread.

        Raises:
            ZMQError: a port is taken.
        """
        controller = self._controller
        self._sockets = [controller.context.socket(kind) for kind in (zmq.XPUB, zmq.ROUTER, zmq.XPUB)]
        ping, pong, report = self._sockets
        ping.setsockopt(zmq.XPUB_VERBOSE, 1)  # every engine subscribes to the same topic
        util.set_hwm(pong, 0)
        controller.bind(ping, controller.engine_url("hb_ping"))
        controller.bind(pong, controller.engine_url("hb_pong"))
        controller.connect(report, util.disambiguate_url(controller.monitor_url))
        super().start()

    def run(self) -> None:
        """Beat until the process ends."""
        asyncio.run(self._beat_forever())

    async def _beat_forever(self) -> None:
        monitor = self._make_monitor()
        monitor.start()
        await asyncio.Event().wait()

    def _make_monitor(self) -> QuickHeartMonitor:
        controller = self._controller
        sections = [
            name for name in ("Session", "HeartMonitor", "QuickHeartMonitor") if name in controller.config
        ]
        config = Config({name: controller.config[name] for name in sections})
        config.Session.key = controller.session.key
        ping, pong, report = (ZMQStream(socket) for socket in self._sockets)
        return QuickHeartMonitor(
            ping_stream=ping, pong_stream=pong, monitor_stream=report, config=config, log=controller.log
        )


class AttentiveScheduler(BroadcastScheduler):  # type: ignore[misc]  # ipyparallel has no types
    """A scheduler of broadcasts that reads its notifications of engines.

    ipyparallel's own subscribes and never reads, so each engine that joins or leaves costs the controller
    18 kB in each of three schedulers, permanently.
    """

    def start(self) -> None:
        super().start()
        self.notifier_stream.on_recv(lambda _: None)


def _launch_attentively(**options: Any) -> None:
    launch_broadcast_scheduler(**{**options, "scheduler_class": AttentiveScheduler})


class _NoWait:
    """The `time` module for ipyparallel's controller, without its sleep of a quarter second."""

    @staticmethod
    def sleep(_seconds: float) -> None:
        pass


class Controller(controller_app.IPController):  # type: ignore[misc]  # ipyparallel has no types
    """An IPController that registers an engine at its first heartbeat."""

    when_ready: Callable[[Controller], None] | None = None
    """Called once every socket is bound."""

    def init_hub(self) -> None:
        controller_app.time = _NoWait
        controller_app.Hub = ForgivingHub
        if self.engine_ip == "*":
            self.context.set(zmq.IPV6, 1)  # all addresses, of both families
        super().init_hub()
        self.hub.engine_state_file = ""  # otherwise a full disk would break the registration of engines
        if self.use_threads:
            self.heartmonitor_process = HeartThread(self)
            self.mq_class = "nbpar.cluster.controller.BoundQueue"

    def init_schedulers(self) -> None:
        controller_app.launch_broadcast_scheduler = _launch_attentively
        super().init_schedulers()

    def start(self) -> None:
        if self.when_ready is not None:
            self.loop.add_callback(self.when_ready, self)
        super().start()

    def forget(self, uuid: str) -> None:
        """Unregister an engine whose process is gone, so that clients are notified at once."""
        ident = uuid.encode()
        engine_id = self.hub.by_ident.get(ident)
        if engine_id is None:
            self.hub.incoming_registrations.pop(ident, None)
        else:
            self.hub.unregister_engine(ident, {"content": {"id": engine_id}})

    def connection_info(self) -> dict[str, dict[str, Any]]:
        """Connection data for a client and for an engine."""
        return {"client": self._read(self.client_json_file), "engine": self._read(self.engine_json_file)}

    def _read(self, name: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((Path(self.profile_dir.security_dir) / name).read_text())
        return content


def main(arguments: list[str] | None = None) -> None:
    """Run a controller in this process, as `python -m nbpar.cluster.controller` does."""
    Controller.launch_instance(sys.argv[1:] if arguments is None else arguments)


if __name__ == "__main__":
    main()


CONTROL = b"incontrol"
"""The controller's prefix for client messages in its control queue, which carries nbpar's messages."""


class BoundQueue(ThreadMonitoredQueue):
    """A monitored queue that binds in its starting thread, and forwards only some messages to the hub."""

    def start(self) -> None:
        """Bind, then forward messages in a thread.

        Raises:
            ZMQError: a port is taken.
        """
        self._bound = super()._setup_sockets()  # type: ignore[no-untyped-call]
        super().start()

    def connect_mon(self, addr: str) -> None:
        """Forward messages to the hub, except those of the control queue, which it ignores."""
        if self._in_prefix != CONTROL:
            super().connect_mon(addr)  # type: ignore[no-untyped-call]

    def _setup_sockets(self) -> Any:
        return self._bound
