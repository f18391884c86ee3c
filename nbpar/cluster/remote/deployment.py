"""A controller here and engines on other hosts, each host at the end of one ssh connection."""

from __future__ import annotations

import json
import threading
import time
import uuid as identities
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

from nbpar.cluster.base import DeploymentListener, Settings
from nbpar.cluster.client import prepare_client
from nbpar.cluster.fork_server.preload import ENGINE_SETTINGS, LAUNCHED_SETTINGS, LOOPBACK
from nbpar.cluster.fork_server.protocol import ForkRequest, Line, surroundings_here
from nbpar.cluster.fork_server.server import ForkServer
from nbpar.cluster.forked import EngineProcess, ForkedDeployment
from nbpar.cluster.remote.hosts import Host, Hosts
from nbpar.cluster.remote.prompts import ask_user, can_ask
from nbpar.errors import ClusterError
from nbpar.host.exit_status import Death, death_in
from nbpar.host.import_path import user_folders

CLOSE_WITHIN = 8.0
"""Seconds for all far sides to end."""

LONGEST_PAUSE = 30.0
"""Most seconds between two attempts to connect to a host that was lost."""

ATTEMPTS = 4
"""Number of failed attempts, in a quarter of a minute, after which a host is not expected back."""


class HostConnection:
    """The connection to one host: a process of the local fork server that runs ssh."""

    main = "nbpar.cluster.remote.far"
    """The program over there."""

    end_within = 5.0
    """Seconds for it to end."""

    def __init__(self, template: ForkServer, host: Host, hosts: Hosts, settings: Settings) -> None:
        self.host = host
        self.engines: dict[str, EngineProcess] = {}
        """Its engines by key."""

        self.settled = threading.Event()
        """Set once it is connected, or cannot be."""

        self.over = threading.Event()
        """Set once its process has ended."""

        self.started = self.connected = False
        self.introduced = False
        """Whether it was usable before: it is connected to again when it is lost."""

        self.final = False
        """Whether that would not help."""

        self.problem = ""
        self.name = host.name
        """Its own name for itself, once known."""

        self.cpus = 1
        self.log = ""
        """The end of the log of the engine that ended last."""

        self.on_ready: Callable[[HostConnection], None] = lambda _: None
        self.on_question: Callable[[HostConnection, str, int], None] = lambda *_: None
        self.on_loss: Callable[[HostConnection], None] = lambda _: None
        self._template = template
        self._hosts = hosts
        self._settings = settings
        self._key = f"host-{identities.uuid4().hex[:8]}"

    @property
    def usable(self) -> bool:
        """Whether engines can be forked there."""
        return self.connected and not self.problem

    @property
    def wanted(self) -> int:
        """Its intended number of engines."""
        return self.host.engines or self.cpus

    def connect(self, *, asks: bool = False) -> None:
        """Start connecting; returns at once.  `asks`: ssh's questions are answered."""
        self.started = True
        settings = {
            "host": self.host.name,
            "command": list(self._hosts.command),
            "python": self.host.python,
            "install": self._hosts.install,
            "prompts": str(self._template.directory / f"{self._key}-asks") if asks else "",
            "main": self.main,
            "end_within": self.end_within,
            "far": self.far_settings(),
        }
        log = str(self._template.directory / f"{self._key}.log")
        order = ForkRequest(self._key, "host", [json.dumps(settings)], surroundings_here(), log)
        self._template.fork(order, self)

    def far_settings(self) -> dict[str, Any]:
        """Settings of the program over there."""
        return settings_of_far_side(self._settings, self._hosts.silence)

    def tell(self, line: Line) -> None:
        """Send a line to the far side."""
        self._template.tell(self._key, line)

    def fork(self, process: EngineProcess, settings: Settings) -> None:
        """Order an engine."""
        self.engines[process.key] = process
        self.tell(fork_line(process.key, settings, self.wanted))

    # ---- events of the process, in the fork server's thread

    def forked(self, pid: int) -> None:
        """Do nothing: a process that runs is not yet connected."""

    def ready(self, connection: Line) -> None:
        """Do nothing: only controllers report this."""

    def said(self, line: Line) -> None:
        """Handle what the connection says."""
        if line["host"] == "ready":
            self.name, self.cpus, self.connected = line["its_host"], line["its_cpus"], True
            self.settled.set()
            self.on_ready(self)
        elif line["host"] == "asks":
            self.on_question(self, line["question"], line["number"])
        elif line["host"] == "event":
            self.hear(line["line"])
        else:
            self._lose(line["reason"])

    def ended(self, death: Death) -> None:
        self.failed(f"its process here ended ({death.reason})")

    def failed(self, reason: str) -> None:
        self._lose(reason)
        self.over.set()

    def hear(self, line: Line) -> None:
        """Handle a line of the far side."""
        process = self.engines.get(line.get("key", ""))
        if line["it"] == "unfit":
            self.final = True
            self._lose(line["error"])
        elif line["it"] == "broken":
            self.log = line["log"]
            last = next((said for said in reversed(self.log.splitlines()) if said.strip()), "")
            self._lose(f"its fork server ended: {last.strip()}" if last else "its fork server ended")
        elif process is None:
            return
        elif line["it"] == "forked":
            process.forked(line["pid"])
        elif line["it"] in ("failed", "ended"):
            del self.engines[process.key]
            self.log = line.get("log") or self.log
            if line["it"] == "failed":
                process.failed(line["error"])
            else:
                process.ended(death_in(line))

    def _lose(self, reason: str) -> None:
        if self.problem:
            return
        self.problem = reason
        self.settled.set()
        self.on_loss(self)


class Questions:
    """The questions of ssh on connections that are being made, for the thread that waits for these."""

    def __init__(self) -> None:
        self._asked: SimpleQueue[tuple[HostConnection, str, int] | None] = SimpleQueue()
        """The questions; None when something else has happened to a connection."""

    def expect_from(self, connection: HostConnection) -> None:
        """Take the questions of a connection."""
        connection.on_ready = lambda _: self.look_again()
        connection.on_question = lambda *asked: self._asked.put(asked)

    def look_again(self) -> None:
        """Have `settle` look at the connections."""
        self._asked.put(None)

    def settle(self, connections: Sequence[HostConnection], deadline: float) -> None:
        """Wait until each is connected or cannot be, and answer questions, which do not count as waiting."""
        while not all(connection.settled.is_set() for connection in connections):
            try:
                asked = self._asked.get(timeout=max(0.0, deadline - time.monotonic()))
            except Empty:
                return
            if asked is not None:
                connection, question, number = asked
                began = time.monotonic()
                text = ask_user(connection.host.name, question)
                connection.tell({"do": "answer", "number": number, "text": text})
                deadline += time.monotonic() - began


class HostsDeployment(ForkedDeployment):
    """A controller that is a child of the local fork server, and engines on other hosts.

    Args:
        template: the local fork server.
        settings: settings of the engines.
        occupant: is notified of failures.
        hosts: where the engines are.
    """

    controller_settings = (*LAUNCHED_SETTINGS, LOOPBACK)
    patience = 2.0

    def __init__(
        self, template: ForkServer, settings: Settings, occupant: DeploymentListener, hosts: Hosts
    ) -> None:
        super().__init__(template, settings, occupant)
        self._hosts = hosts
        self._questions = Questions()
        self._connections = [self._connection_to(host) for host in hosts.hosts]
        self._attempts: Counter[Host] = Counter()
        """Number of failed attempts to connect again, by host."""

    @property
    def intended(self) -> int:
        """The number of engines, with those of hosts that have one for each CPU."""
        return sum(connection.wanted for connection in self._connections)

    def open(self, engines: int, timeout: float) -> dict[str, Any]:
        deadline = time.monotonic() + timeout
        self._planned = engines
        self._order_controller()
        asks = can_ask()
        for connection in self._connections:
            connection.connect(asks=asks)
        prepare_client()
        self._controller.settled.wait(timeout)
        if self._controller.connection is None or self._problem:
            raise ClusterError(self._why_no_controller(timeout))
        self._questions.settle(self._connections, deadline)
        self._check_hosts(timeout)
        for connection in self._connections:
            connection.introduced = True
            self._introduce(connection)
        self.add(self.intended)
        client: dict[str, Any] = self._controller.connection["client"]
        return client

    def locate(self, uuid: str) -> tuple[str, int | None]:
        process, connection = self._engines.get(uuid), self._connection_of(uuid)
        return (connection.name, process.pid or None) if process and connection else ("", None)

    def problem(self) -> str:
        return super().problem() or self._all_lost()

    def logs(self) -> str:
        """The ends of the logs, here and there."""
        there = [
            f"--- an engine on {connection.host.name}\n{connection.log}"
            for connection in self._connections
            if connection.log
        ]
        return "\n".join(filter(None, [super().logs(), *there]))

    def close(self) -> None:
        with self._lock:
            first, self._closed = not self._closed, True
        if first:
            for connection in self._connections:
                connection.tell({"do": "end"})
            deadline = time.monotonic() + CLOSE_WITHIN
            for connection in self._connections:
                if connection.started and self._template.alive and not self._template.in_its_thread:
                    connection.over.wait(max(0.0, deadline - time.monotonic()))
        super().close()

    def engine_ended(self, process: EngineProcess, reason: str) -> None:
        """Handle the end of an engine, of which the controller has to be told."""
        self._template.tell(self._controller_key, {"gone": process.key})
        super().engine_ended(process, reason)

    # ---- hosts

    def _connection_to(self, host: Host) -> HostConnection:
        connection = HostConnection(self._template, host, self._hosts, self._settings)
        connection.on_loss = self._lost
        self._questions.expect_from(connection)
        return connection

    def _introduce(self, connection: HostConnection) -> None:
        """Tell a host of the controller."""
        assert self._controller.connection is not None
        connection.tell({"do": "controller", "connection": self._controller.connection["engine"]})

    def _check_hosts(self, timeout: float) -> None:
        """Raise an error that names every host that cannot be used."""
        waited = f"it did not answer within {timeout:.0f} s"
        failed = {it.host.name: it.problem or waited for it in self._connections if not it.usable}
        if not failed:
            return
        if len(self._connections) == 1:
            (name, reason) = next(iter(failed.items()))
            raise ClusterError(f"cannot start engines on {name}: {reason}")
        lines = [f"\n  {name}: {reason}" for name, reason in failed.items()]
        count = f"{len(failed)} of {len(self._connections)} hosts"
        raise ClusterError(f"cannot start engines on {count}:{''.join(lines)}")

    def _lost(self, connection: HostConnection) -> None:
        """Handle the loss of a connection, and with it of its engines."""
        self._questions.look_again()
        for key in list(connection.engines):
            self._end_with(connection, key)
        if self._settings.heal and connection.introduced and not connection.final:
            self._later(self._pause(connection.host), lambda: self._reconnect(connection))

    def _end_with(self, connection: HostConnection, key: str) -> None:
        """Handle the end of an engine with its connection."""
        process = connection.engines.pop(key, None)
        if process is not None:
            process.cut_off = True
            reason = f"the connection to {connection.host.name} ended: {connection.problem}"
            self.engine_ended(process, reason)

    def _pause(self, host: Host) -> float:
        """Seconds until the next attempt to connect."""
        return min(LONGEST_PAUSE, 2.0 ** self._attempts[host])

    def _reconnect(self, lost: HostConnection) -> None:
        """Connect to a host again; its engines are started when it answers."""
        self._attempts[lost.host] += 1
        connection = self._connection_to(lost.host)
        connection.introduced = True
        connection.on_ready = self._returned
        with self._lock:
            if self._closed or lost not in self._connections:
                return
            self._connections[self._connections.index(lost)] = connection
        with suppress(ClusterError):  # the fork server is gone, which is reported elsewhere
            connection.connect()

    def _returned(self, connection: HostConnection) -> None:
        """A host is connected again."""
        del self._attempts[connection.host]
        self._introduce(connection)
        for _ in range(connection.wanted - len(connection.engines)):
            self._order_on(connection)
            self._occupant.engine_replaced()

    def _all_lost(self) -> str:
        """Why no engine will come, if no host can be reached for long."""
        if any(it.usable or self._may_return(it) for it in self._connections):
            return ""
        return f"no host can be used: {self._problems()}"

    def _may_return(self, connection: HostConnection) -> bool:
        """Whether a host that was lost is expected back."""
        hoped_for = self._settings.heal and connection.introduced and not connection.final
        return hoped_for and self._attempts[connection.host] < ATTEMPTS

    def _problems(self) -> str:
        return "; ".join(f"{it.host.name}: {it.problem}" for it in list(self._connections) if it.problem)

    # ---- engines

    def _order_engine(self) -> EngineProcess:
        usable = [connection for connection in self._connections if connection.usable]
        if not usable:
            raise ClusterError(f"no host is connected ({self._problems()})")
        return self._order_on(min(usable, key=lambda it: len(it.engines) / it.wanted))

    def _order_on(self, connection: HostConnection) -> EngineProcess:
        process = EngineProcess(self, identities.uuid4().hex)
        with self._lock:
            self._seat(process)
        connection.fork(process, self._settings_of(process))
        if connection.problem:  # it was lost meanwhile, perhaps before it had this engine
            self._end_with(connection, process.key)
        return process

    def _connection_of(self, key: str) -> HostConnection | None:
        return next((it for it in list(self._connections) if key in it.engines), None)

    def _signal(self, key: str, number: int) -> None:
        connection = self._connection_of(key)
        if connection is not None:
            connection.tell({"do": "signal", "key": key, "number": int(number)})

    def _exists(self, process: EngineProcess) -> bool:
        return self._connection_of(process.key) is not None

    def _delay_of_replacement(self, process: EngineProcess, reason: str) -> float | None:
        return None if process.cut_off else super()._delay_of_replacement(process, reason)


def fork_line(key: str, settings: Settings, together: int) -> Line:
    """The line that orders an engine from a far side, which is to have a number of them together."""
    around = surroundings_here({}, settings.folder, settings.nice)
    return {
        "do": "fork",
        "key": key,
        "arguments": list(ENGINE_SETTINGS),
        "environment": dict(settings.environment),
        "together": together,
        "folder": around.folder,
        "folder_required": settings.folder is not None,
        "nice": around.nice,
    }


def settings_of_far_side(settings: Settings, silence: float) -> dict[str, Any]:
    """What a far side needs, which gives up the other side after seconds of silence."""
    return {
        "preload": list(settings.preload),
        "path": user_folders(),  # on a shared disk they are there, too
        "environment": dict(settings.environment),
        "silence": silence,
    }
