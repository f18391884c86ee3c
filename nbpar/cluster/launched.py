"""A controller and engines started by ipyparallel's launchers: local processes, SSH, Slurm, MPI and so on."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from nbpar.cluster.directory import create_directory, hold, remove_directory
from nbpar.cluster.guarded import command
from nbpar.cluster.limits import thread_limits
from nbpar.cluster.orders import surroundings_here
from nbpar.cluster.room import Occupant, Settings
from nbpar.cluster.stack import LAUNCHED_SETTINGS
from nbpar.errors import ClusterError

LOST = "it left the cluster: its process ended, or its machine does not answer"

_WHERE = "(__import__('socket').gethostname(), __import__('os').getpid())"
"""What an engine is asked for; it need not have nbpar."""


class LaunchedRoom:
    """Controller and engines of one `ipyparallel.Cluster`.

    Args:
        engines: name or class of ipyparallel's engine launcher.
        options: further arguments for `ipyparallel.Cluster`.
        settings: how the engines are to be.
        occupant: who hears when something goes wrong.
    """

    def __init__(self, engines: Any, options: dict[str, Any], settings: Settings, occupant: Occupant) -> None:
        self.directory: Path | None = create_directory()
        self._held = hold(self.directory)
        self._engines = engines
        self._options = options
        self._settings = settings
        self._occupant = occupant
        self._lock = threading.Lock()
        self._cluster: Any = None
        self._client: Any = None
        self._places: dict[str, tuple[str, int]] = {}
        self._ids: dict[str, int] = {}
        self._removed: set[str] = set()
        self._problem = ""
        self._closed = False

    def open(self, engines: int, timeout: float) -> dict[str, Any]:
        import ipyparallel

        self._cluster = ipyparallel.Cluster(**self._arguments(engines, timeout))
        try:
            self._cluster.start_controller_sync()
            info: dict[str, Any] = self._connection_info()
            self._cluster.start_engines_sync(engines)
        except Exception as error:
            raise ClusterError(f"ipyparallel cannot start {self._engines!r} engines: {error}") from error
        for launcher in self._cluster.engines.values():
            launcher.on_stop(self._set_ended)
        return info

    def attach(self, client: Any) -> None:
        self._client = client

    def add(self, count: int) -> None:
        before = set(self._cluster.engines)
        self._cluster.start_engines_sync(count)
        for name in set(self._cluster.engines) - before:
            self._cluster.engines[name].on_stop(self._set_ended)

    def remove(self, uuids: Sequence[str]) -> None:
        with self._lock:
            ids = [self._ids[uuid] for uuid in uuids if uuid in self._ids]
            self._removed.update(uuids)
        if ids:
            self._client.shutdown(targets=ids, block=False)

    def kill(self, uuid: str, _reason: str) -> None:
        """Kill through the engine's nanny, which every engine of ipyparallel's launchers has."""
        if uuid in self._ids:
            with suppress(LookupError):  # it was struck off meanwhile
                self._client.send_signal("SIGKILL", targets=[self._ids[uuid]], block=False)

    def registered(self, uuid: str) -> None:
        """Ask a new engine where it is."""
        if self._client is None:
            return
        engine_id = next((key for key in self._client.ids if self._client._engines.get(key) == uuid), None)  # noqa: SLF001
        if engine_id is None:
            return
        with self._lock:
            self._ids[uuid] = engine_id
        answer = self._client[engine_id].apply_async(eval, _WHERE)
        answer.add_done_callback(lambda future: self._locate_from(uuid, future))

    def left(self, uuid: str) -> None:
        with self._lock:
            wanted = uuid in self._removed or self._closed
        self._occupant.engine_died(uuid, LOST)
        if not wanted and self._settings.heal and self._engines == "local":
            threading.Thread(target=self._replace, name="nbpar-heal", daemon=True).start()

    def coming(self) -> int:
        return 0

    def locate(self, uuid: str) -> tuple[str, int | None]:
        with self._lock:
            return self._places.get(uuid, ("", None))

    def problem(self) -> str:
        return self._problem

    def logs(self) -> str:
        """What the launchers saw of their processes."""
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
        try:
            if self._cluster is not None:
                self._cluster.stop_cluster_sync()
        finally:
            if self.directory is not None:
                remove_directory(self.directory)

    def _arguments(self, engines: int, timeout: float) -> dict[str, Any]:
        from traitlets.config import Config

        config = Config()
        config.LocalControllerLauncher.controller_cmd = command("controller")
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
        options = dict(self._options)
        config.merge(options.pop("config", None) or {})
        if not {"profile", "profile_dir"} & set(options):
            arguments["profile_dir"] = str(self.directory / "profile" if self.directory else "profile")
        return {**arguments, **options, "config": config}

    def _connection_info(self) -> dict[str, Any]:
        import asyncio

        async def wait() -> Any:
            return await self._cluster.controller.get_connection_info()

        found: list[Any] = []
        thread = threading.Thread(target=lambda: found.append(asyncio.run(wait())))
        thread.start()
        thread.join()
        if not found:
            raise ClusterError("ipyparallel's controller did not write its connection files")
        info: dict[str, Any] = found[0]["client"]
        return info

    def _locate_from(self, uuid: str, future: Any) -> None:
        with suppress(Exception):  # it left again
            place = future.result()
            with self._lock:
                self._places[uuid] = (str(place[0]), int(place[1]))

    def _replace(self) -> None:
        with suppress(Exception):  # the cluster is being stopped
            self.add(1)
            self._occupant.engine_replaced()

    def _set_ended(self, data: Any) -> None:
        if not self._closed:
            self._problem = f"the engine launcher's processes ended ({data})"
