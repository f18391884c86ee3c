"""A controller and engines forked from a template, replaced when they die."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
import uuid as identities
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from nbpar.cluster.healing import Healing
from nbpar.cluster.limits import thread_limits
from nbpar.cluster.opening import prepare_client
from nbpar.cluster.orders import Order, surroundings_here
from nbpar.cluster.processes import ControllerProcess, EngineProcess
from nbpar.cluster.room import Occupant, Settings, with_logs
from nbpar.cluster.stack import CONTROLLER_SETTINGS, ENGINE_SETTINGS
from nbpar.cluster.warm import Template, tail
from nbpar.errors import ClusterError

SILENT = "killed because it did not answer any more"
"""Why an engine ends that hangs."""


class ForkedRoom:
    """Controller and engines that are children of one template."""

    def __init__(self, template: Template, settings: Settings, occupant: Occupant) -> None:
        self.directory: Path | None = template.directory
        self._template = template
        self._settings = settings
        self._occupant = occupant
        self._lock = threading.Lock()
        self._engines: dict[str, EngineProcess] = {}
        self._healing = Healing()
        self._controller = ControllerProcess(self)
        self._controller_key = ""
        self._planned = 0
        self._numbered = 0
        self._problem = ""
        self._last_words = ""
        self._closed = False
        self._timers: set[threading.Timer] = set()
        self._due = 0
        template.when_over(self._template_ended)

    def open(self, engines: int, timeout: float) -> dict[str, Any]:
        self._planned = engines
        self._order_controller()
        self.add(engines)
        prepare_client()
        self._controller.settled.wait(timeout)
        if self._controller.connection is None or self._problem:
            raise ClusterError(self._why_no_controller(timeout))
        client: dict[str, Any] = self._controller.connection["client"]
        return client

    def attach(self, client: Any) -> None:
        """Nothing to do: the template reaches every engine."""

    def add(self, count: int) -> None:
        for _ in range(count):
            self._order_engine()

    def remove(self, uuids: Sequence[str]) -> None:
        for uuid in uuids:
            process = self._expect_end(uuid)
            if process is not None:
                self._template.tell(self._controller_key, {"gone": uuid})
                self._template.signal(uuid, signal.SIGTERM)
                self._later(0.5, lambda key=uuid: self._template.signal(key, signal.SIGKILL))

    def kill(self, uuid: str, reason: str) -> None:
        with self._lock:
            process = self._engines.get(uuid)
            if process is not None:
                process.killed_for = reason
        if process is not None:
            self._template.signal(uuid, signal.SIGKILL)

    def registered(self, uuid: str) -> None:
        with self._lock:
            process = self._engines.get(uuid)
            if process is not None:
                process.known = True
            self._healing.registered()

    def left(self, uuid: str) -> None:
        """Kill an engine that has not answered for long, unless it is dead, which is told elsewhere."""
        with self._lock:
            process = self._engines.get(uuid)
            if process is not None and not process.expected and psutil.pid_exists(process.pid):
                process.killed_for = process.killed_for or SILENT
        self._template.signal(uuid, signal.SIGKILL)

    def coming(self) -> int:
        with self._lock:
            unknown = sum(not (process.known or process.expected) for process in self._engines.values())
            return self._due + unknown

    def locate(self, uuid: str) -> tuple[str, int | None]:
        process = self._engines.get(uuid)
        return (socket.gethostname(), process.pid) if process is not None else ("", None)

    def problem(self) -> str:
        return self._problem or self._template.problem

    def logs(self) -> str:
        """The ends of the logs: the template's, the controller's, the newest engine's."""
        folder = self._template.directory
        names = ["template.log", "controller.log"]
        with suppress(OSError):
            names += [path.name for path in sorted(folder.glob("engine-*.log"))[-1:]]
        if self._last_words:
            return self._last_words
        parts = [(name, tail(folder / name)) for name in names]
        return "\n".join(f"--- {name}\n{text}" for name, text in parts if text)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            timers, self._timers = self._timers, set()
        for timer in timers:
            timer.cancel()
        self._template.close()

    # ---- the template's thread

    def engine_ended(self, process: EngineProcess, reason: str) -> None:
        """An engine is gone; replace it when nobody wanted that."""
        with self._lock:
            self._engines.pop(process.key, None)
            if self._closed:
                return
            delay = None if process.expected else self._delay_of_replacement(process, reason)
            self._due += delay is not None
        if process.known:
            self._occupant.engine_died(process.key, reason)
        if delay is not None:
            self._later(delay, self._replace)

    def controller_ended(self, reason: str) -> None:
        """Nothing works without a controller."""
        with self._lock:
            if self._closed:
                return
            self._problem = self._problem or f"the cluster's controller ended ({reason})"
        self._last_words = self.logs()  # they go when the room is closed, which is next
        self._occupant.broke(self._problem)

    def _template_ended(self, reason: str) -> None:
        with self._lock:
            self._problem = self._problem or reason
        self._controller.settled.set()
        self._occupant.broke(self._problem)

    # ---- orders

    def _order_controller(self) -> None:
        self._controller_key = f"controller-{identities.uuid4().hex[:8]}"
        order = Order(
            key=self._controller_key,
            kind="controller",
            arguments=[*CONTROLLER_SETTINGS, *self._profile_arguments()],
            surroundings=surroundings_here(self._own_variables()),
            log=str(self._template.directory / "controller.log"),
        )
        self._template.fork(order, self._controller)

    def _order_engine(self) -> EngineProcess:
        with self._lock:
            self._numbered += 1
            process = EngineProcess(self, identities.uuid4().hex)
            self._engines[process.key] = process
            log = self._template.directory / f"engine-{self._numbered:03}.log"
        added = {**self._own_variables(), **dict(self._settings.environment)}
        limits = thread_limits(self._planned, {**os.environ, **added})
        around = surroundings_here({**limits, **added}, self._settings.folder, self._settings.nice)
        order = Order(
            key=process.key,
            kind="engine",
            arguments=[
                *ENGINE_SETTINGS,
                *self._profile_arguments(),
                f"--Session.session={process.key}",
                f"--work-dir={around.folder}",
            ],
            surroundings=around,
            log=str(log),
            controller=self._controller_key,
        )
        self._template.fork(order, process)
        return process

    def _own_variables(self) -> dict[str, str]:
        return {"IPYTHONDIR": str(_ipython_folder(self._template.directory))}

    def _profile_arguments(self) -> list[str]:
        """Have the profile in the private directory."""
        return [f"--profile-dir={self._template.directory / 'profile'}"]

    # ---- healing

    def _delay_of_replacement(self, process: EngineProcess, reason: str) -> float | None:
        """Seconds until a replacement, None for none; the lock is held."""
        if self._problem:
            return None
        delay = self._healing.delay_after_death(time.monotonic(), registered=process.known)
        if delay is None:
            self._problem = f"engines end before they register ({reason})"
        return delay if self._settings.heal or not process.known else None

    def _replace(self) -> None:
        with suppress(ClusterError):  # the template has gone meanwhile and has said so
            self._order_engine()
            self._occupant.engine_replaced()
        with self._lock:
            self._due -= 1

    def _later(self, delay: float, action: Any) -> None:
        if delay <= 0:
            action()
            return
        timer = threading.Timer(delay, action)
        timer.daemon = True
        with self._lock:
            self._timers = {other for other in self._timers if other.is_alive()} | {timer}
            if not self._closed:
                timer.start()

    def _expect_end(self, uuid: str) -> EngineProcess | None:
        with self._lock:
            process = self._engines.get(uuid)
            if process is not None:
                process.expected = True
            return process

    def _why_no_controller(self, timeout: float) -> str:
        reason = self.problem() or f"the cluster's controller did not come up within {timeout:.0f} s"
        return with_logs(reason, self.logs())


def _ipython_folder(private: Path) -> Path:
    """The user's IPython folder when it is complete, else a private one, so that nothing is made there."""
    theirs = Path(os.environ.get("IPYTHONDIR") or Path.home() / ".ipython")
    return theirs if (theirs / "profile_default" / "startup").is_dir() else private / "ipython"


_preparing = threading.Lock()
