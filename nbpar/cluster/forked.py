"""A controller and engines forked from a fork server; engines that die are replaced."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import threading
import time
import uuid as identities
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from nbpar.cluster.base import DeploymentListener, Settings, UnqueuedEngines, with_logs
from nbpar.cluster.client import prepare_client
from nbpar.cluster.directory import ipython_folder, tail
from nbpar.cluster.fork_server.preload import CONTROLLER_SETTINGS, ENGINE_SETTINGS
from nbpar.cluster.fork_server.protocol import ForkRequest, Line, surroundings_here
from nbpar.cluster.fork_server.server import ForkServer
from nbpar.errors import ClusterError
from nbpar.host.cpus import thread_limits
from nbpar.host.exit_status import Death


class ProcessOwner(Protocol):
    """Is notified of their ends."""

    def engine_ended(self, process: EngineProcess, reason: str) -> None:
        """An engine is gone."""

    def controller_ended(self, reason: str) -> None:
        """The controller is gone."""


@dataclass
class EngineProcess:
    """One engine's process, from order to end."""

    room: ProcessOwner
    key: str
    pid: int = 0
    slot: int = 0
    """Its place among the engines, which its replacement takes over."""

    known: bool = False
    """Whether the controller has registered it."""

    expected: bool = False
    """Whether it was asked to end."""

    killed_for: str = ""
    """The reason why it was killed from here."""

    cut_off: bool = False
    """Whether it ended with the connection to its host, which replaces it once it is connected again."""

    def forked(self, pid: int) -> None:
        self.pid = pid

    def ready(self, connection: Line) -> None:
        """Do nothing: only controllers report readiness."""

    def ended(self, death: Death) -> None:
        self.room.engine_ended(self, self.killed_for or death.reason)

    def failed(self, reason: str) -> None:
        self.room.engine_ended(self, f"it could not be started: {reason}")


class ControllerProcess:
    """The controller's process, from order to end."""

    def __init__(self, room: ProcessOwner) -> None:
        self._room = room
        self.pid = 0
        self.settled = threading.Event()
        self.connection: dict[str, Any] | None = None
        self.reason = ""

    def forked(self, pid: int) -> None:
        self.pid = pid

    def ready(self, connection: Line) -> None:
        self.connection = connection
        self.settled.set()

    def ended(self, death: Death) -> None:
        self.failed(death.reason)

    def failed(self, reason: str) -> None:
        self.reason = self.reason or reason
        self.settled.set()
        self._room.controller_ended(self.reason)


@dataclass(slots=True)
class Healing:
    """Replace engines at once, slower when they die one after the other, and not at all when none comes up.

    Items that kill their engine must not stop the others, so engines that had registered are
    always replaced.  Engines that die before they register would die for ever.
    """

    free: int = 20
    """Replacements a minute that are not slowed down."""

    longest: float = 2.0
    """Most seconds that a replacement waits."""

    stillborn: int = 3
    """Engines in a row that may end before they register."""

    _deaths: deque[float] = field(default_factory=deque)
    _stillborn: int = 0

    def delay_after_death(self, now: float, *, registered: bool) -> float | None:
        """Seconds until the engine that died at `now` is to be replaced, None when it must not be."""
        self._stillborn = 0 if registered else self._stillborn + 1
        if self._stillborn >= self.stillborn:
            return None
        self._deaths.append(now)
        while self._deaths[0] < now - 60:
            self._deaths.popleft()
        return min(self.longest, 0.1 * max(0, len(self._deaths) - self.free))

    def registered(self) -> None:
        """An engine came up."""
        self._stillborn = 0


SILENT = "killed because it stopped responding"
"""Why an engine ends that hangs."""


class ForkedDeployment(UnqueuedEngines):
    """Controller and engines that are children of one template."""

    controller_settings: tuple[str, ...] = CONTROLLER_SETTINGS
    """Command line of the controller."""

    engine_kind: Literal["engine", "worker"] = "engine"
    """What its fork server makes of an engine's process."""

    patience = 0.5
    """Seconds between terminating an engine and killing it."""

    def __init__(self, template: ForkServer, settings: Settings, occupant: DeploymentListener) -> None:
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
        self._stuck = ""
        """Why dead engines are no longer replaced."""

        self._last_words = ""
        self._closed = False
        self._timers: set[threading.Timer] = set()
        self._due = 0
        """Number of delayed replacements."""

        self._withdrawn = 0
        """The number of these that are no longer wanted."""

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
        """Do nothing: the template reaches every engine."""

    def add(self, count: int) -> None:
        with self._lock:
            if count and self._stuck:
                self._stuck = ""
                self._healing.registered()  # counts from zero
        for _ in range(count):
            self._order_engine()

    def withdraw(self, count: int) -> None:
        with self._lock:
            due = min(count, self._due - self._withdrawn)
            self._withdrawn += due
            unknown = [it for it in self._engines.values() if not (it.known or it.expected)]
            for process in (dropped := unknown[: count - due]):
                process.expected = True
        for process in dropped:
            self._signal(process.key, signal.SIGKILL)

    def remove(self, uuids: Sequence[str]) -> None:
        for uuid in uuids:
            process = self._expect_end(uuid)
            if process is not None:
                self._template.tell(self._controller_key, {"gone": uuid})
                self._signal(uuid, signal.SIGTERM)
                self._later(self.patience, lambda key=uuid: self._signal(key, signal.SIGKILL))

    def kill(self, uuid: str, reason: str) -> None:
        with self._lock:
            process = self._engines.get(uuid)
            if process is not None:
                process.killed_for = reason
        if process is not None:
            self._signal(uuid, signal.SIGKILL)

    def interrupt(self, uuid: str) -> bool:
        """Send an engine SIGINT; return whether its process is there."""
        with self._lock:
            known = uuid in self._engines
        if known:
            self._signal(uuid, signal.SIGINT)
        return known

    def registered(self, uuid: str) -> None:
        with self._lock:
            process = self._engines.get(uuid)
            if process is not None:
                process.known = True
            self._healing.registered()

    def left(self, uuid: str) -> None:
        """Kill an engine that has not responded for long, unless it is dead, which is reported elsewhere."""
        with self._lock:
            process = self._engines.get(uuid)
            if process is not None and not process.expected and self._exists(process):
                process.killed_for = process.killed_for or SILENT
        self._signal(uuid, signal.SIGKILL)

    def coming(self) -> int:
        with self._lock:
            unknown = sum(not (process.known or process.expected) for process in self._engines.values())
            return self._due - self._withdrawn + unknown

    def locate(self, uuid: str) -> tuple[str, int | None]:
        process = self._engines.get(uuid)
        return (socket.gethostname(), process.pid) if process is not None else ("", None)

    def slot(self, uuid: str) -> int:
        process = self._engines.get(uuid)
        return 0 if process is None or self._settings.per_worker is None else process.slot

    def problem(self) -> str:
        return self._problem or self._template.problem or self._stuck

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
        """Handle the end of an engine; replace it unless that was requested."""
        with self._lock:
            self._engines.pop(process.key, None)
            if self._closed:
                return
            delay = None if process.expected else self._delay_of_replacement(process, reason)
            self._due += delay is not None
        if process.known or not process.expected:
            self._occupant.engine_died(process.key, reason)
        if delay is not None:
            self._later(delay, self._replace)

    def controller_ended(self, reason: str) -> None:
        """Handle the end of the controller, without which nothing works."""
        with self._lock:
            if self._closed:
                return
            self._problem = self._problem or f"the cluster's controller ended ({reason})"
        self._last_words = self.logs()  # they are deleted when the deployment is closed, which is next
        self._occupant.broke(self._problem)

    def _template_ended(self, reason: str) -> None:
        with self._lock:
            self._problem = self._problem or reason
        self._controller.settled.set()
        self._occupant.broke(self._problem)

    def _signal(self, key: str, number: int) -> None:
        """Send a signal to an engine."""
        self._template.signal(key, number)

    def _exists(self, process: EngineProcess) -> bool:
        """Whether a process may still be there."""
        import psutil

        return bool(psutil.pid_exists(process.pid))

    # ---- orders

    def _order_controller(self) -> None:
        self._controller_key = f"controller-{identities.uuid4().hex[:8]}"
        order = ForkRequest(
            key=self._controller_key,
            kind="controller",
            arguments=[*self.controller_settings, *self._profile_arguments()],
            surroundings=surroundings_here(self._own_variables()),
            log=str(self._template.directory / "controller.log"),
        )
        self._template.fork(order, self._controller)

    def _order_engine(self) -> EngineProcess:
        with self._lock:
            self._numbered += 1
            process = self._process(identities.uuid4().hex, self._numbered)
            self._seat(process)
            log = self._template.directory / f"engine-{self._numbered:03}.log"
        added = {**self._own_variables(), **dict(self._settings_of(process).environment)}
        limits = thread_limits(self._planned, {**os.environ, **added})
        around = surroundings_here({**limits, **added}, self._settings.folder, self._settings.nice)
        order = ForkRequest(
            key=process.key,
            kind=self.engine_kind,
            arguments=self._engine_arguments(process.key, around.folder),
            surroundings=around,
            log=str(log),
            controller=self._controller_key,
        )
        try:
            self._template.fork(order, process)
        except ClusterError:
            with self._lock:
                self._engines.pop(process.key, None)
            raise
        return process

    def _seat(self, process: EngineProcess) -> None:
        """Add an engine, in the first slot that no other has or will keep; call with the lock held."""
        held = {other.slot for other in self._engines.values() if not other.expected}
        process.slot = next(slot for slot in itertools.count() if slot not in held)
        self._engines[process.key] = process

    def _settings_of(self, process: EngineProcess) -> Settings:
        """Return the settings of an engine that has its slot, which it loses if they cannot be had."""
        try:
            return self._settings.in_slot(process.slot)
        except (TypeError, ValueError) as error:  # of the user's function
            with self._lock:
                self._engines.pop(process.key, None)
            raise ClusterError(str(error)) from error

    def _process(self, key: str, number: int) -> EngineProcess:  # noqa: ARG002 (for others)
        """Return the process that is to be ordered, the `number`-th."""
        return EngineProcess(self, key)

    def _engine_arguments(self, key: str, folder: str) -> list[str]:
        session = [f"--Session.session={key}", f"--work-dir={folder}"]
        return [*ENGINE_SETTINGS, *self._profile_arguments(), *session]

    def _own_variables(self) -> dict[str, str]:
        return {"IPYTHONDIR": str(ipython_folder(self._template.directory))}

    def _profile_arguments(self) -> list[str]:
        """Create the profile in the private directory."""
        return [f"--profile-dir={self._template.directory / 'profile'}"]

    # ---- healing

    def _delay_of_replacement(self, process: EngineProcess, reason: str) -> float | None:
        """Seconds until a replacement, None for none; call with the lock held."""
        if self._problem or self._stuck:
            return None
        delay = self._healing.delay_after_death(time.monotonic(), registered=process.known)
        if delay is None:
            self._stuck = f"engines end before they register ({reason})"
        return delay if self._settings.heal or not process.known else None

    def _replace(self) -> None:
        with self._lock:
            if withdrawn := self._withdrawn > 0:
                self._withdrawn -= 1
                self._due -= 1
        if withdrawn:
            return
        try:
            self._order_engine()
        except ClusterError as error:
            self._stuck = str(error)
        else:
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
        return self._with_logs(
            self.problem() or f"the cluster's controller did not come up within {timeout:.0f} s"
        )

    def _with_logs(self, reason: str) -> str:
        return with_logs(reason, self.logs())
