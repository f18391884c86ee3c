"""Wait for the engines of a joined cluster, which register seconds after their cluster has started."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import psutil

from nbpar.cluster.base import with_logs
from nbpar.cluster.directory import tail
from nbpar.cluster.members import Members
from nbpar.core.text import plural
from nbpar.errors import ClusterError
from nbpar.host.error_log import log_warning
from nbpar.host.processes import birth

START_TIMEOUT = 60.0
"""Seconds for engines to register, where their cluster does not say; ipyparallel's own default."""

LOOK = 0.2
"""Seconds between two looks."""

ASK_AGAIN = 1.0
"""Seconds until the controller is asked again: its notifications are lost while a client connects."""

TELL_AFTER = 3.0
"""Seconds after which the user is told what is waited for."""

LOG_LINES = 12
"""Maximal number of lines of the logs of a set of engines in an error."""

MOST_LOGS = 2
"""Maximal number of engines whose logs are in an error."""

OLDER = 30.0
"""Seconds by which a file of an earlier cluster is older than the connection file of this one."""


@dataclass(frozen=True)
class Starting:
    """What a cluster tells of the engines that it has started."""

    number: int = 0
    """How many; 0 if that is not known."""

    ended: int = 0
    """Number of those whose process is known to have ended."""

    since: float = 0.0
    """Time of the start; 0 if that is not known."""

    timeout: float = START_TIMEOUT
    """Seconds for them to register."""

    logs: str = ""
    """The end of their logs, if they have ended."""


Look = Callable[[], Starting]
"""Tells what is known now."""


def await_engines(client: Any, name: str, look: Look, given_up: Callable[[], bool]) -> None:
    """Wait until the engines that a cluster has started have registered.

    Some that never come are not waited for when the time since the start of their cluster is over.

    Args:
        client: the client of the cluster.
        name: the cluster in words.
        look: tells what is known of its engines.
        given_up: returns whether they are not needed any more.

    Raises:
        ClusterError: engines should come, and none did: their processes have ended, or the time is over.
    """
    wait = _Wait(client, name, look)
    if wait.is_over():
        return
    members = Members(client, _Nothing())
    try:
        asked = time.monotonic()
        while not (given_up() or wait.is_over()):
            members.wait(lambda ids: len(ids) > wait.here, LOOK)
            if time.monotonic() - asked > ASK_AGAIN:
                asked = time.monotonic()
                members.refresh()
    finally:
        members.forget()


class _Wait:
    """One wait for engines, from its first look on."""

    def __init__(self, client: Any, name: str, look: Look) -> None:
        self._client = client
        self._name = name
        self._look = look
        self._began = time.time()
        self._told = False
        self.here = 0
        """Number of engines at the last look."""

    def is_over(self) -> bool:
        """Look whether nothing is to be waited for.

        Raises:
            ClusterError: because no engine will come.
        """
        self.here, starting = len(self._client.ids), self._look()
        if self.here >= max(1, starting.number - starting.ended):
            return True
        if starting.number and starting.ended >= starting.number and not self.here:
            ended = f"{self._name} has no engine: all that it has started have ended"
            raise ClusterError(with_logs(ended, starting.logs))
        # what has no engine yet may have been queued for long, as on Slurm
        since = self._began if starting.number and not self.here else starting.since
        since = min(since, self._began)  # a file that was copied may be of any time
        if (left := since + starting.timeout - time.time()) <= 0:
            self._end(starting)
            return True
        self._tell(starting, left)
        return False

    def _end(self, starting: Starting) -> None:
        if not starting.number:
            return
        if not self.here:
            raise ClusterError(
                f"{self._name} has no engine: none of its {plural(starting.number, 'engine')} has registered "
                f"within {starting.timeout:g} s; look into their logs, or join it when it has some"
            )
        if self._told:
            log_warning(
                f"{self._name} has {self.here} of {starting.number} engines; the others were not awaited"
            )

    def _tell(self, starting: Starting, left: float) -> None:
        if not self._told and time.time() - self._began >= TELL_AFTER:
            self._told = True
            missing = (
                f"{plural(starting.number, 'engine')}, of which it has {self.here}"
                if starting.number
                else "an engine"
            )
            log_warning(f"waiting for {self._name} to have {missing}, for up to {left:.0f} s more")


class _Nothing:
    """Listens to nothing."""

    def engine_joined(self, uuid: str) -> None:
        """Ignore it."""

    def engine_left(self, uuid: str) -> None:
        """Ignore it."""


# ---- what an ipyparallel Cluster knows


def of_cluster(cluster: Any) -> Starting:
    """Return what an `ipyparallel.Cluster` of this process knows of its engines."""
    sets = list(cluster.engines.values())
    number = sum(engines.n or 0 for engines in sets) or cluster.n or 0
    ended = sum(_ended_of(engines) for engines in sets)
    logs = "\n".join(_output_of(engines) for engines in sets) if ended else ""
    written = _written(Path(cluster.cluster_file)) if cluster.cluster_file else 0.0
    return Starting(number, ended, written, cluster.engine_timeout, logs)


def _ended_of(engines: Any) -> int:
    """Return the number of engines of a set whose processes have ended, as far as that is known."""
    number = int(engines.n or 0)
    if engines.state == "after":
        return number
    if (living := getattr(engines, "living", None)) is not None:  # nbpar's own
        return number - int(living)
    launchers = list((getattr(engines, "launchers", None) or {}).values())
    if not launchers:
        return 0
    return number - sum(_lives(launcher) for launcher in launchers)


def _lives(launcher: Any) -> bool:
    """Whether a launcher's process runs, as far as known; its state is updated in its event loop only."""
    from ipyparallel.cluster import launcher as kinds

    if launcher.state == "after":
        return False
    here = isinstance(launcher, kinds.LocalProcessLauncher) and not isinstance(launcher, kinds.SSHLauncher)
    return not here or bool(birth(launcher.pid))


def _output_of(engines: Any) -> str:
    try:
        return "\n".join(str(engines.get_output() or "").splitlines()[-LOG_LINES:])
    except OSError:
        return ""


# ---- what its file tells


def of_file(connection: Path) -> Starting:
    """Return what the file that `ipcluster` writes beside a client's connection file tells of the engines.

    Without one, as for a controller that was started alone, the age of the connection file is known.
    """
    written = _written(connection)
    cluster_id = connection.name.removeprefix("ipcontroller").removesuffix("-client.json").removeprefix("-")
    path = connection.with_name(f"cluster-{cluster_id}.json")
    if _written(path) < written - OLDER:
        return Starting(since=written)
    try:
        content = json.loads(path.read_text())
        sets = list(content["engines"]["sets"].values())
        number = sum(int(engines.get("n") or 0) for engines in sets) or int(content["cluster"].get("n") or 0)
        processes = [engine for engines in sets for engine in engines.get("engines", {}).values()]
        local = content["engines"]["class"] == "local" and _is_here(content["controller"])
        dead = [engine for engine in processes if local and not birth(int(engine["pid"]))]
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return Starting(since=written)
    logs = "\n".join(filter(None, (tail(Path(engine.get("output_file", ""))) for engine in dead[:MOST_LOGS])))
    return Starting(number, len(dead), _written(path), logs=logs)


def _is_here(controller: Any) -> bool:
    """Whether a cluster's controller is a process of this host; the file may come from another one."""
    try:
        command = psutil.Process(int(controller["state"]["pid"])).cmdline()
    except (psutil.Error, OSError, ValueError, LookupError, TypeError):
        return False
    return any("ipcontroller" in part or "ipyparallel" in part for part in command)


def _written(path: Path) -> float:
    """Return when a file was written, by this host's clock; 0 if there is none."""
    try:
        return path.stat().st_mtime - _clock_ahead(path.parent)
    except OSError:
        return 0.0


@lru_cache(maxsize=8)
def _clock_ahead(folder: Path) -> float:
    """Return how many seconds the clock of the host that keeps a folder is ahead of this one's.

    It is 0 where that cannot be found out: nothing can be written there.
    """
    try:
        with TemporaryFile(dir=folder) as probe:
            ahead = os.fstat(probe.fileno()).st_mtime - time.time()
    except OSError:
        return 0.0
    return ahead if abs(ahead) > 1.0 else 0.0  # files have coarser times
