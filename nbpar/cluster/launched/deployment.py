"""A controller and engines started by ipyparallel's launchers: local processes, SSH, Slurm, MPI and so on."""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from nbpar.cluster.base import DeploymentListener, Settings, UnqueuedEngines
from nbpar.cluster.client import own_request
from nbpar.cluster.directory import RuntimeDirectory, remove_directory
from nbpar.cluster.fork_server.preload import LAUNCHED_SETTINGS
from nbpar.cluster.fork_server.protocol import surroundings_here
from nbpar.cluster.forked import Healing
from nbpar.cluster.launched.guarded import command
from nbpar.cluster.launched.options import batch_files, guard_mpi, quiet_commands, words_of
from nbpar.cluster.launched.ranks import ORDERS, SECTION, folder_of_ranks, write_orders
from nbpar.errors import ClusterError
from nbpar.host.cpus import thread_limits
from nbpar.host.error_log import log_warning

LOST = "it left the cluster: its process ended, or its machine does not answer"

TOGETHER = 0.2
"""Seconds in which engines end together: one of MPI's takes the others with it."""

_WHERE = "(__import__('socket').gethostname(), __import__('os').getpid())"
"""The query to an engine, which need not have nbpar."""


class LaunchedDeployment(UnqueuedEngines):
    """Controller and engines of one `ipyparallel.Cluster`.

    Args:
        engines: name or class of ipyparallel's engine launcher.
        options: further arguments for `ipyparallel.Cluster`.
        settings: settings of the engines.
        occupant: is notified of failures.
    """

    def __init__(
        self, engines: Any, options: dict[str, Any], settings: Settings, occupant: DeploymentListener
    ) -> None:
        self._runtime = RuntimeDirectory()
        self.directory: Path | None = self._runtime.path
        self._engines = engines
        self._options = options
        self._settings = settings
        self._occupant = occupant
        self._lock = threading.Lock()
        self._cluster: Any = None
        self._client: Any = None
        self._shared: Path | None = None
        """Folder that ranks on other hosts see."""

        self._places: dict[str, tuple[str, int]] = {}
        self._ids: dict[str, int] = {}
        self._removed: set[str] = set()
        self._awaited: dict[str, int] = {}
        """Number of engines not registered yet, by ipyparallel's name of the set started together."""

        self._starting = 0
        """Number of engines in a call of the launcher."""

        self._early = 0
        """The number of these that registered early."""

        self._due = 0
        """Number of replacements about to be started."""

        self._healing = Healing()
        self._pause = TOGETHER
        """Seconds until they are started."""

        self._replaces = False
        """Whether a thread does that."""

        self._over = threading.Event()
        """Set when this is closed."""

        self._problem = ""
        self._closed = False

    def open(self, engines: int, timeout: float) -> dict[str, Any]:
        import ipyparallel

        try:
            self._cluster = ipyparallel.Cluster(**self._arguments(engines, timeout))
            self._cluster.start_controller_sync()
            info: dict[str, Any] = self._connection_info()
            self._order_ranks()
        except Exception as error:
            raise self._refusal(error) from error
        self.add(engines)
        return info

    def attach(self, client: Any) -> None:
        self._client = client

    def add(self, count: int) -> None:
        if not count:
            return
        self._problem = ""
        before = set(self._cluster.engines)
        with self._lock:
            self._starting += count
        try:
            self._cluster.start_engines_sync(count)
        except Exception as error:
            for name in set(self._cluster.engines) - before:
                self._stop_failed(self._cluster.engines.pop(name))
            raise self._refusal(error) from error
        finally:
            with self._lock:
                self._starting -= count
                early = min(self._early, count)
                self._early = self._early - early if self._starting else 0
                for name in set(self._cluster.engines) - before:
                    self._awaited[name] = count - early
        for name in set(self._cluster.engines) - before:
            self._cluster.engines[name].on_stop(partial(self._set_ended, name))

    def withdraw(self, count: int) -> None:
        """Do nothing: an engine is unknown before it registers."""

    def remove(self, uuids: Sequence[str]) -> None:
        with self._lock:
            ids = [self._ids[uuid] for uuid in uuids if uuid in self._ids]
            self._removed.update(uuids)
        if ids:
            self._client.shutdown(targets=ids, block=False)
        for uuid in uuids:
            self._occupant.engine_died(uuid, LOST)

    def kill(self, uuid: str, _reason: str) -> None:
        """Kill an engine through its nanny, which every engine of ipyparallel's launchers has."""
        if uuid in self._ids:
            with suppress(LookupError):  # it was removed meanwhile
                self._client.send_signal("SIGKILL", targets=[self._ids[uuid]], block=False)

    def interrupt(self, _uuid: str) -> bool:
        """Return False: only the controller can."""
        return False

    def registered(self, uuid: str) -> None:
        """Query the host and pid of a new engine."""
        with self._lock:
            returns = uuid in self._ids
            name = next((name for name, count in self._awaited.items() if count), None)
            if returns:  # the controller had given it up, and it answers again
                pass
            elif name is not None:
                self._awaited[name] -= 1
            elif self._starting:
                self._early += 1
        if self._client is None:
            return
        engine_id = next((key for key in self._client.ids if self._client._engines.get(key) == uuid), None)  # noqa: SLF001
        if engine_id is None:
            return
        with self._lock:
            self._ids[uuid] = engine_id
        answer = own_request(self._client, engine_id, eval, _WHERE)
        answer.add_done_callback(lambda future: self._locate_from(uuid, future))

    def left(self, uuid: str) -> None:
        with self._lock:
            wanted = uuid in self._removed or self._closed
            heals = not wanted and self._settings.heal
            if heals:
                self._due += 1
                delay = self._healing.delay_after_death(time.monotonic(), registered=True)
                self._pause = max(TOGETHER, delay or 0.0)
            begins, self._replaces = heals and not self._replaces, heals or self._replaces
        self._occupant.engine_died(uuid, LOST, for_good=wanted)  # it may answer again
        if begins:
            threading.Thread(target=self._replace_lost, name="nbpar heal", daemon=True).start()

    def coming(self) -> int:
        with self._lock:
            starting = max(self._due, self._starting - self._early)
            return starting + sum(self._awaited.values())

    def locate(self, uuid: str) -> tuple[str, int | None]:
        with self._lock:
            return self._places.get(uuid, ("", None))

    def problem(self) -> str:
        return self._problem or self._ended_early()

    def logs(self) -> str:
        """The launchers' records of their processes."""
        if self._cluster is None:
            return ""
        launchers = [*self._cluster.engines.values(), self._cluster.controller]
        texts = []
        for launcher in launchers:
            with suppress(Exception):  # only a message depends on it
                texts.append("\n".join(launcher.get_output().splitlines()[-12:]))
        return "\n".join(text for text in texts if text)

    def close(self) -> None:
        with self._lock:
            first, self._closed = not self._closed, True
        if not first:
            return
        self._over.set()
        try:
            if self._cluster is not None:
                self._stop()
        finally:
            self._runtime.remove()
            if self._shared is not None:
                remove_directory(self._shared)

    def _ended_early(self) -> str:
        """Return why engines will not come: processes of a set that has not registered have all ended.

        The launcher's own callback (`on_stop`) needs an event loop, which runs only while it is called.
        """
        if self._cluster is None or self._closed:
            return ""
        with self._lock:
            awaited = [name for name, count in self._awaited.items() if count]
        for name in awaited:
            processes = _processes_of(self._cluster.engines.get(name))
            if processes and not any(process.is_running() for process in processes):
                return "the engine launcher's processes ended"
        return ""

    def _refusal(self, error: Exception) -> ClusterError:
        return ClusterError(f"ipyparallel cannot start {self._engines!r} engines: {words_of(error)}")

    def _stop_failed(self, launcher: Any) -> None:
        """End what is there of engines that could not be started, which may be nothing."""
        with suppress(Exception):
            stopped = launcher.stop()
            if inspect.isawaitable(stopped):
                run_here(stopped)

    def _stop(self) -> None:
        """End controller and engines; what a launcher cannot end must not keep the others."""
        cluster = self._cluster
        try:
            cluster.stop_cluster_sync()
        except Exception as error:  # noqa: BLE001 (any launcher's code runs here)
            log_warning(f"not all {self._engines!r} engines could be stopped", error)
            with suppress(Exception):
                cluster.stop_controller_sync()
        finally:
            cluster.shutdown_atexit = False  # it would try the same again, and print what comes of it

    def _arguments(self, engines: int, timeout: float) -> dict[str, Any]:
        from traitlets.config import Config

        config = Config()
        config.LocalControllerLauncher.controller_cmd = command("controller")
        if not self._through_ssh():  # those launchers take over the local one's settings
            config.LocalEngineLauncher.engine_cmd = command("engine")
        config.LocalEngineSetLauncher.delay = 0
        around = surroundings_here()
        added = dict(self._settings.environment)
        limits = thread_limits(engines, {**around.environment, **added})
        config.EngineLauncher.environment = {**limits, **added}
        arguments: dict[str, Any] = {
            "n": engines,
            "engines": self._engines,
            "controller_args": list(LAUNCHED_SETTINGS),
            "engine_timeout": max(1, int(timeout)),
            "delay": 0,
            "log_level": 40,
        }
        config.merge(quiet_commands())
        config.merge(batch_files(self._runtime.path))
        options = dict(self._options)
        config.merge(Config(options.pop("config", None) or {}))
        guard_mpi(config, self._engines)
        if (ranks := config.pop(SECTION, None)) is not None:
            self._shared = folder_of_ranks(ranks["folder"])
            config.MPIEngineSetLauncher.engine_cmd = command("rank", str(self._shared / ORDERS))
            arguments["controller_ip"] = "*"
        if not {"profile", "profile_dir"} & set(options):
            arguments["profile_dir"] = str((self._shared or self._runtime.path) / "profile")
        return {**arguments, **options, "config": config}

    def _order_ranks(self) -> None:
        """Write what ranks on other hosts need."""
        if self._shared is not None:
            environment = self._cluster.config.EngineLauncher.environment
            write_orders(self._shared, environment, Path(self._cluster.controller.connection_files["engine"]))

    def _through_ssh(self) -> bool:
        """Whether engines start on other hosts, where this process's pid and Python mean nothing."""
        name = self._engines if isinstance(self._engines, str) else getattr(self._engines, "__name__", "")
        return "ssh" in name.lower()

    def _connection_info(self) -> dict[str, Any]:
        found = run_here(self._cluster.controller.get_connection_info())
        if not found:
            raise ClusterError("ipyparallel's controller did not write its connection files")
        info: dict[str, Any] = found[0]["client"]
        return info

    def _locate_from(self, uuid: str, future: Any) -> None:
        with suppress(Exception):  # it left again
            place = future.result()
            with self._lock:
                self._places[uuid] = (str(place[0]), int(place[1]))

    def _replace_lost(self) -> None:
        """Replace engines that have ended, as long as there are some; those that end together, together."""
        while not self._over.wait(self._pause):
            with self._lock:
                count = self._due
                self._replaces = count > 0
            if not count:
                return
            self._replace(count)

    def _replace(self, count: int) -> None:
        try:
            self.add(count)
        except Exception as error:  # noqa: BLE001 (any launcher's code runs here)
            if not self._closed:
                self._problem = f"engines that ended could not be replaced: {words_of(error)}"
        else:
            for _ in range(count):
                self._occupant.engine_replaced()
        finally:
            with self._lock:
                self._due -= count

    def _set_ended(self, name: str, data: Any) -> None:
        """Handle the end of engines that were started together; those that never registered never will."""
        with self._lock:
            never_came = self._awaited.pop(name, 0)
        if never_came and not self._closed:
            self._problem = f"the engine launcher's processes ended ({data})"


def _processes_of(launcher: Any) -> list[Any]:
    """Return the known processes of a set of engines on this host; none for a batch system."""
    launchers = [launcher, *getattr(launcher, "launchers", {}).values()]
    processes = [getattr(one, "process", None) for one in launchers]
    return [process for process in processes if process is not None]


def run_here(awaitable: Any) -> list[Any]:
    """Run a coroutine in a thread with an event loop of its own; return its result, if it has one."""
    import asyncio

    async def wait() -> Any:
        return await awaitable

    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(asyncio.run(wait())))
    thread.start()
    thread.join()
    return found
