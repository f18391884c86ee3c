"""An ipyparallel controller in one process that takes engines in at once.

ipyparallel's own waits for one or two heartbeats of three seconds until an engine counts
as registered.  This one beats fast while an engine is being registered, slowly otherwise,
and gives an engine up by the time it has been silent, not by the number of beats.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import zmq
from ipyparallel import util
from ipyparallel.controller import app as controller_app
from ipyparallel.controller.heartmonitor import HeartMonitor
from tornado import ioloop
from traitlets.config import Config
from zmq.eventloop.zmqstream import ZMQStream

FAST_PERIOD = 15
"""Milliseconds between beats while an engine is being registered."""

SLOW_PERIOD = 3000
"""Milliseconds between beats otherwise."""

SILENCE = 30.0
"""Seconds without an answer after which an engine is given up."""

SETTINGS = [
    "--ip=127.0.0.1",
    "--log-level=30",
    "--usethreads",
    "--nodb",
    f"--HeartMonitor.period={SLOW_PERIOD}",
]
"""Command line that keeps the controller small and quick."""


class QuickHeartMonitor(HeartMonitor):  # type: ignore[misc]  # ipyparallel has no types
    """Beats fast while somebody waits for a first beat, and counts silence in seconds."""

    def expect_heart(self) -> None:
        """Beat fast until nobody waits any more."""
        self.caller.stop()
        self.caller = ioloop.PeriodicCallback(self._fast_beat, FAST_PERIOD)
        self.caller.start()

    def handle_pong(self, message: list[bytes]) -> None:
        super().handle_pong(message)
        if message[0] in self.responses and message[0] not in self.hearts:
            self.handle_new_hearts({message[0]})

    def _fast_beat(self) -> None:
        self.beat()
        if not self.waiting():
            self.caller.stop()
            self.caller = ioloop.PeriodicCallback(self.beat, self.period)
            self.caller.start()

    def waiting(self) -> bool:
        """Whether an engine waits for its first beat; replaced by the controller."""
        return False

    def _check_missed(
        self, missed: set[bytes], silent_since: dict[bytes, float], hearts: set[bytes]
    ) -> tuple[list[bytes], dict[bytes, float]]:
        """Engines that have been silent for too long, and since when the others are."""
        now = time.monotonic()
        silent = {heart: silent_since.get(heart, now) for heart in missed if heart in hearts}
        lost = [heart for heart, since in silent.items() if now - since > SILENCE]
        return lost, {heart: since for heart, since in silent.items() if heart not in lost}


class HeartThread(threading.Thread):
    """The heart monitor with an event loop of its own, in this process."""

    def __init__(self, controller: Controller) -> None:
        super().__init__(name="heartmonitor", daemon=True)
        self._controller = controller
        self._loop: ioloop.IOLoop | None = None
        self._monitor: QuickHeartMonitor | None = None
        self._expected = threading.Event()

    def expect_heart(self) -> None:
        """An engine is about to beat for the first time; callable from any thread."""
        self._expected.set()
        if self._loop is not None:
            self._loop.add_callback(self._expect)

    def run(self) -> None:
        asyncio.run(self._beat_forever())

    async def _beat_forever(self) -> None:
        self._loop = ioloop.IOLoop.current()
        self._monitor = self._make_monitor()
        self._monitor.start()
        self._expect()
        await asyncio.Event().wait()

    def _expect(self) -> None:
        if self._monitor is not None and self._expected.is_set():
            self._expected.clear()
            self._monitor.expect_heart()

    def _make_monitor(self) -> QuickHeartMonitor:
        controller = self._controller
        context = controller.context
        ping, pong, report = context.socket(zmq.PUB), context.socket(zmq.ROUTER), context.socket(zmq.XPUB)
        util.set_hwm(pong, 0)
        controller.bind(ping, controller.engine_url("hb_ping"))
        controller.bind(pong, controller.engine_url("hb_pong"))
        controller.connect(report, util.disambiguate_url(controller.monitor_url))
        config = Config()
        for section in ("Session", "HeartMonitor"):
            if section in controller.config:
                config[section] = controller.config[section]
        config.Session.key = controller.session.key
        monitor = QuickHeartMonitor(
            ping_stream=ZMQStream(ping),
            pong_stream=ZMQStream(pong),
            monitor_stream=ZMQStream(report),
            config=config,
            log=controller.log,
        )
        monitor.waiting = lambda: bool(controller.hub.incoming_registrations)
        return monitor


class _NoWait:
    """The `time` module for ipyparallel's controller, without its quarter second of sleep."""

    @staticmethod
    def sleep(_seconds: float) -> None:
        pass


class Controller(controller_app.IPController):  # type: ignore[misc]  # ipyparallel has no types
    """An IPController that registers an engine at its first heartbeat."""

    when_ready: Callable[[Controller], None] | None = None
    """Called once every socket is bound."""

    def init_hub(self) -> None:
        controller_app.time = _NoWait
        super().init_hub()
        if self.use_threads:
            self._beat_in_a_thread()

    def start(self) -> None:
        if self.when_ready is not None:
            self.loop.add_callback(self.when_ready, self)
        super().start()

    def forget(self, uuid: str) -> None:
        """Unregister an engine whose process is gone, so that clients learn of it at once."""
        ident = uuid.encode()
        engine_id = self.hub.by_ident.get(ident)
        if engine_id is None:
            self.hub.incoming_registrations.pop(ident, None)
        else:
            self.hub.unregister_engine(ident, {"content": {"id": engine_id}})

    def connection_info(self) -> dict[str, dict[str, Any]]:
        """What a client and what an engine needs to connect."""
        return {"client": self._read(self.client_json_file), "engine": self._read(self.engine_json_file)}

    def _beat_in_a_thread(self) -> None:
        hearts = HeartThread(self)
        self.heartmonitor_process = hearts
        register = self.hub.query_handlers["registration_request"]

        def register_and_expect(*arguments: Any) -> Any:
            try:
                return register(*arguments)
            finally:
                hearts.expect_heart()

        self.hub.query_handlers["registration_request"] = register_and_expect

    def _read(self, name: str) -> dict[str, Any]:
        import json
        from pathlib import Path

        content: dict[str, Any] = json.loads((Path(self.profile_dir.security_dir) / name).read_text())
        return content


def main(arguments: list[str] | None = None) -> None:
    """Run a controller in this process, as `python -m nbpar.cluster.controller` does."""
    Controller.launch_instance(sys.argv[1:] if arguments is None else arguments)


if __name__ == "__main__":
    main()
