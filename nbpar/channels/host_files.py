"""Copy files to the hosts of a pool's workers before its runs (`files=`), as `push_files` does."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from nbpar.channels.files import transfers
from nbpar.channels.gateway import Gateway, gateways_of
from nbpar.endpoint.code import FunctionCode
from nbpar.endpoint.receive_files import tell_place
from nbpar.errors import ChannelError, ClusterError, RemoteError
from nbpar.host.machine import machine

FIRST_WITHIN = 60.0
"""Seconds to wait for an answer of a worker."""

OTHERS_WITHIN = 10.0
"""The same for others once one has answered: they are busy with other things, and asked again later."""

LOOK_AGAIN = 1.0
"""Seconds after which files are looked at again for calls that are submitted one by one."""

LOOK_THERE = 10.0
"""Seconds after which hosts are asked again whether they still have them."""


class HostFolder(NamedTuple):
    """A working folder on a machine, which several workers may share."""

    machine: str
    folder: str


class HostFiles:
    """The files of one pool, and where they are.

    Args:
        files: absolute path here, and path there, relative to the working folder of the workers.
    """

    def __init__(self, files: tuple[tuple[str, str], ...]) -> None:
        self._files = files
        self._lock = threading.Lock()
        self._looked = 0.0
        self._places: dict[str, HostFolder | None] = {}
        """Where each worker is; None for those on this machine, which has the files."""

        self._pushed: dict[HostFolder, tuple[tuple[Any, ...], float]] = {}
        """The state of the files that each place has, and when it was seen to have them."""

    def push(self, pool: Any, *, brief: bool) -> None:
        """Copy what has changed to each host of the pool's workers.

        Args:
            pool: whose workers are asked.
            brief: files that were looked at just now have not changed.

        Raises:
            ClusterError: a host cannot take them; it has the host's words.
            FileNotFoundError: they do not exist any more.
        """
        with self._lock:
            gateways = {gateway.worker: gateway for gateway in _usable(pool)}
            new = {key: gateway for key, gateway in gateways.items() if key not in self._places}
            if not new and brief and time.monotonic() - self._looked < LOOK_AGAIN:
                return
            state = tuple(_state_of(source) for source, _ in self._files)
            self._places = {key: place for key, place in self._places.items() if key in gateways}
            self._places.update(_places_of(new))
            self._looked = time.monotonic()
            targets: dict[HostFolder, Gateway] = {}
            for key, place in self._places.items():
                if place is not None and not self._has(place, state):
                    targets.setdefault(place, gateways[key])
            for source, destination in self._files if targets else ():
                _copy(source, destination, targets)
            self._pushed.update(dict.fromkeys(targets, (state, time.monotonic())))

    def _has(self, place: HostFolder, state: tuple[Any, ...]) -> bool:
        """Whether a place had the files just now."""
        known, seen = self._pushed.get(place, ((), 0.0))
        return known == state and time.monotonic() - seen < LOOK_THERE


def _usable(pool: Any) -> Iterator[Gateway]:
    unusable = {str(facts["worker"]) for facts in pool.workers if "problem" in facts}
    return (gateway for gateway in gateways_of(pool) if gateway.worker not in unusable)


def _places_of(gateways: dict[str, Gateway]) -> dict[str, HostFolder | None]:
    """Ask workers where they are; those that do not answer are asked before the next run."""
    code = FunctionCode(tell_place, {})
    channels = {key: gateway.begin(code, thread=True) for key, gateway in gateways.items()}
    found: dict[str, HostFolder | None] = {}
    deadline = time.monotonic() + FIRST_WITHIN
    here = machine()
    for key, channel in channels.items():
        try:
            its_machine, folder = channel.receive(max(0.0, deadline - time.monotonic()))
        except (ChannelError, TimeoutError):  # its worker is gone, or busy with other things
            channel.close()
            continue
        at_home = its_machine and its_machine == here
        found[key] = None if at_home else HostFolder(its_machine or key, folder)
        deadline = min(deadline, time.monotonic() + OTHERS_WITHIN)
    return found


def _copy(source: str, destination: str, targets: dict[HostFolder, Gateway]) -> None:
    gateways = [(gateway, destination, False) for gateway in targets.values()]
    problems: dict[str, str] = {}
    for transfer in transfers(source, gateways, None):
        try:
            for _ in transfer.run():
                pass
        except (RemoteError, ChannelError) as error:
            host = transfer.gateway.remote_status().host or transfer.gateway.id
            problems[host] = str(error).strip().rpartition("\n")[2]
    if problems:
        reasons = "; ".join(f"{host}: {reason}" for host, reason in sorted(problems.items()))
        raise ClusterError(f"cannot copy {source!r} of files= to {reasons}")


def _state_of(source: str) -> tuple[tuple[str, int, int], ...]:
    """Return path, time and size of a file, or of all files of a folder."""
    root = Path(source)
    paths = [root]
    for folder, folders, names in os.walk(root):
        paths += [Path(folder, name) for name in (*folders, *names)]
    found = []
    for path in paths:
        try:
            known = path.lstat()
        except FileNotFoundError:  # it was deleted meanwhile
            continue
        found.append((str(path), known.st_mtime_ns, known.st_size))
    return tuple(found)
