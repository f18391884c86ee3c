"""ipyparallel launchers on top of the fork server: `ipp.Cluster(engines="nbpar", controller="nbpar")`.

Controller and engines of this process share one fork server, which ends with the last of them
and, in any case, with this process.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
import uuid as identities
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ipyparallel.cluster.launcher import BaseLauncher, ControllerLauncher, EngineLauncher, NotRunning
from traitlets import Integer, List

from nbpar.cluster.base import Settings
from nbpar.cluster.directory import tail
from nbpar.cluster.fork_server.preload import ENGINE_SETTINGS, LAUNCHED_SETTINGS
from nbpar.cluster.fork_server.protocol import ForkRequest, Line, surroundings_here
from nbpar.cluster.fork_server.server import ForkServer, fork_server_for
from nbpar.host.cpus import thread_limits
from nbpar.host.exit_status import Death

_lock = threading.Lock()
_shared: ForkServer | None = None
_holders: set[int] = set()
_controllers: set[str] = set()


class _LaunchedProcess:
    """One process ordered by a launcher."""

    def __init__(self, launcher: ForkServerLauncher, key: str, log: Path) -> None:
        self._launcher = launcher
        self.key = key
        self.log = log
        self.pid = 0
        self.exit_code: int | None = None

    def forked(self, pid: int) -> None:
        self.pid = pid

    def ready(self, connection: Line) -> None:
        """Do nothing: ipyparallel waits for the connection files."""

    def ended(self, death: Death) -> None:
        self.exit_code = death.code
        self._launcher.process_ended()

    def failed(self, _reason: str) -> None:
        self.exit_code = 1
        self._launcher.process_ended()


class ForkServerLauncher(BaseLauncher):  # type: ignore[misc]  # ipyparallel has no types
    """The common part of the controller's and the engines' launcher."""

    kind: Any = "engine"
    """The kind of process."""

    _processes: Sequence[_LaunchedProcess] = ()
    _last_words = ""
    _ended = threading.Event()  # a new one for each start
    _ended.set()

    def order(self, count: int, arguments: list[str], environment: dict[str, str]) -> None:
        """Order processes; the launcher stops when the last of them has ended."""
        self.loop  # noqa: B018 (taken here: in the template's thread it would be a new one, which never runs)
        self._template = _hold(id(self), count)
        self._processes = [self._new_process() for _ in range(count)]
        self._ended = threading.Event()
        around = surroundings_here(
            {**self.get_env(), **environment}, os.fspath(Path(self.work_dir).resolve())
        )
        for process in self._processes:
            identity = [f"--Session.session={process.key}"] if self.kind == "engine" else []
            settings = [*arguments, *identity]
            order = ForkRequest(
                process.key, self.kind, settings, around, str(process.log), self.controller_key()
            )
            self._template.fork(order, process)

    @property
    def living(self) -> int:
        """Number of processes that have not ended."""
        return sum(process.exit_code is None for process in self._processes)

    def controller_key(self) -> str:
        """Key of the controller to notify when a process is gone, "" for none of ours."""
        return ""

    def cluster_key(self) -> str:
        """Key of this cluster's controller."""
        return f"controller {self.cluster_id} of {self.profile_dir}"

    def process_ended(self) -> None:
        """One process is gone; called in the template's thread."""
        if all(process.exit_code is not None for process in self._processes):
            self._last_words = self.get_output()  # the logs are deleted with the template's directory
            self._ended.set()
            _release(id(self))
            self.loop.add_callback(self.notify_stop, self._stop_data())

    async def join(self, timeout: float | None = None) -> None:
        """Wait until every process is gone."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._ended.is_set():
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(f"the {self.name} did not end within {timeout} s")
            await asyncio.sleep(0.01)  # no executor: this also runs during the interpreter's exit

    async def stop(self) -> None:
        """End the processes; kill those that have not ended after a moment."""
        for number, patience in ((signal.SIGTERM, 0.5), (signal.SIGKILL, 10.0)):
            self.signal(number)
            try:
                await self.join(patience)
            except TimeoutError:
                continue
            break
        if self._processes and self._template is not _shared:  # these were its last processes
            self._template.close()
        self.notify_stop(self._stop_data())

    def signal(self, sig: int) -> None:
        """Send a signal to every process."""
        for process in self._processes:
            if process.exit_code is None:
                self._template.signal(process.key, sig)

    def poll(self) -> int | None:
        """The exit code, None while processes run."""
        return self._stop_data()["exit_code"] if self._ended.is_set() else None

    def get_output(self, remove: bool = False) -> str:  # noqa: ARG002 (the logs go with their directory)
        """The ends of the logs."""
        return self._last_words or "\n".join(filter(None, (tail(process.log) for process in self._processes)))

    @classmethod
    def from_dict(cls, *_arguments: Any, **_options: Any) -> ForkServerLauncher:
        """Raise: the processes end with the process that started them."""
        raise NotRunning("nbpar's controllers and engines do not outlive the process that started them")

    def _new_process(self) -> _LaunchedProcess:
        key = identities.uuid4().hex
        return _LaunchedProcess(self, key, self._template.directory / f"{self.kind}-{key[:8]}.log")

    def _stop_data(self) -> dict[str, Any]:
        codes = {process.pid: process.exit_code for process in self._processes}
        return {"exit_code": next((code for code in codes.values() if code), 0), "pids": codes}


class ForkServerControllerLauncher(ForkServerLauncher, ControllerLauncher):  # type: ignore[misc]
    """A controller forked from the template."""

    kind = "controller"

    controller_args = List(list(LAUNCHED_SETTINGS), config=True, help="Command line of the controller.")

    def process_ended(self) -> None:
        """The controller is gone; called in the template's thread."""
        _controllers.discard(self._processes[0].key)
        super().process_ended()

    def _new_process(self) -> _LaunchedProcess:
        return _LaunchedProcess(self, self.cluster_key(), self._template.directory / "controller.log")

    def find_args(self) -> list[str]:
        """The command line, for messages."""
        return ["nbpar-controller", *self.cluster_args, *self.controller_args]

    async def start(self) -> Any:
        """Order the controller; ipyparallel then waits for its connection files."""
        self.order(1, [*self.cluster_args, *self.controller_args], {})
        _controllers.add(self._processes[0].key)
        return self.notify_start({"pid": None})


class ForkServerEngineSetLauncher(ForkServerLauncher, EngineLauncher):  # type: ignore[misc]
    """Engines forked from the template."""

    n = Integer(0, config=True).tag(to_dict=True)
    engine_args = List(list(ENGINE_SETTINGS), config=True, help="Command line of the engines.")

    def controller_key(self) -> str:
        """The controller of the same cluster, if it was forked here too."""
        return self.cluster_key() if self.cluster_key() in _controllers else ""

    def find_args(self) -> list[str]:
        """The command line, for messages."""
        return ["nbpar-engine", *self.cluster_args, *self.engine_args]

    async def start(self, n: int) -> Any:
        """Order `n` engines."""
        self.n = n
        limits = thread_limits(n, {**os.environ, **self.get_env()})
        arguments = [*self.cluster_args, *self.engine_args, f"--work-dir={Path.cwd()}"]
        self.order(n, arguments, limits)
        return self.notify_start({"n": n})


def _hold(holder: int, count: int) -> ForkServer:
    global _shared  # noqa: PLW0603 (one for each process, made on demand)
    with _lock:
        if _shared is None or not _shared.alive or _shared.owner != os.getpid():
            _shared = fork_server_for(Settings(), count)
            _holders.clear()
        _holders.add(holder)
        return _shared


def _release(holder: int) -> None:
    global _shared
    with _lock:
        _holders.discard(holder)
        template, _shared = (_shared, None) if not _holders else (None, _shared)
    if template is not None:
        template.close()
