"""Copy files to the hosts of a pool's workers before its runs (`files=`), as `push_files` does.

A run's caller copies what has changed before the run begins; a thread serves workers that come later.
On neither way does a worker get its initializer, or an item, before its host has the files.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from nbpar.channels.files import transfers
from nbpar.channels.gateway import Gateway
from nbpar.channels.ports import EarlyPort, Hub, hub_of, hub_on
from nbpar.endpoint.code import FunctionCode
from nbpar.endpoint.receive_files import tell_place
from nbpar.errors import ChannelError, ClusterError, PoolClosedError, RemoteError
from nbpar.host.interpreter_exit import interpreter
from nbpar.host.machine import machine

FIRST_WITHIN = 60.0
"""Seconds to wait for an answer of a worker."""

OTHERS_WITHIN = 10.0
"""The same for others once one has answered: they are busy with other things, and asked again later."""

LOOK_AGAIN = 1.0
"""Seconds after which files are looked at again for calls that are submitted one by one."""

AGAIN = 10.0
"""Seconds after which it is tried again to copy them to hosts that could not take them."""

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
        pool: the pool, which must not be held by what it began.
    """

    def __init__(self, files: tuple[tuple[str, str], ...], pool: weakref.ref[Any]) -> None:
        self._files = files
        self._pool = pool
        self._dispatcher: Callable[[], Any] = lambda: None
        self._called = False
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()  # for these two
        self._lock = threading.Lock()  # for what follows
        self._looked = 0.0
        self._places: dict[str, HostFolder | None] = {}
        """Where each worker is; None for those on this machine, which has the files."""

        self._pushed: dict[HostFolder, tuple[tuple[Any, ...], float]] = {}
        """The state of the files that each place has, and when it was seen to have them."""

    def serve(self, dispatcher: Any) -> None:
        """Copy them to the workers of this dispatcher."""
        self._dispatcher = weakref.ref(dispatcher)

    def push(self, *, brief: bool) -> None:
        """Copy what has changed to each host of the pool's workers.

        Args:
            brief: files that were looked at just now have not changed.

        Raises:
            ClusterError: a host cannot take them; it has the host's words.
            FileNotFoundError: they do not exist any more.
        """
        if (pool := self._pool()) is None:
            return
        with self._lock:
            hub = hub_of(pool)
            gateways = {worker: _gateway(pool, hub, worker) for worker in _usable(pool)}
            arrived = set(hub.dispatcher.without_files)
            self._places = {
                key: place for key, place in self._places.items() if key in gateways and key not in arrived
            }
            new = gateways.keys() - self._places.keys()
            if not new and brief and time.monotonic() - self._looked < LOOK_AGAIN:
                return
            self._looked = time.monotonic()
            self._copy_to(gateways)

    def bring(self) -> None:
        """Copy them to workers that have come meanwhile, in a thread; returns at once."""
        with self._starting:
            self._called = True
            if self._thread is not None:
                return
            self._thread = threading.Thread(target=self._run, name="nbpar files", daemon=True)
        interpreter.start(self._thread)

    def _run(self) -> None:
        while True:
            with self._starting:
                if not self._called:
                    self._thread = None
                    return
                self._called = False
            if not self._bring():  # which holds the pool meanwhile
                threading.Event().wait(AGAIN)
                self._called = True

    def _bring(self) -> bool:
        """Copy them to workers that lack them; return whether all that lacked them have them."""
        pool, dispatcher = self._pool(), self._dispatcher()
        if dispatcher is None:
            return True
        if pool is None:
            dispatcher.files_refused(
                ClusterError("files= cannot be copied to new workers: the pool was dropped; keep it")
            )
            return True
        try:
            with self._lock:
                hub = hub_on(pool, dispatcher)
                gateways = {worker: _gateway(pool, hub, worker) for worker in dispatcher.without_files}
                for worker in gateways:  # it may have another's name
                    self._places.pop(worker, None)
                self._copy_to(gateways)
                return gateways.keys() <= self._places.keys()
        except PoolClosedError:
            return True
        except Exception as error:  # noqa: BLE001 (runs must be told of any)
            dispatcher.files_refused(error)
            return False

    def _copy_to(self, gateways: dict[str, Gateway]) -> None:
        """Copy what the places of these workers lack, and have the workers go on (with the lock held)."""
        state = tuple(_state_of(source) for source, _ in self._files)
        new = {key: gateway for key, gateway in gateways.items() if key not in self._places}
        self._places.update(_places_of(new))
        known = {key: self._places[key] for key in gateways if key in self._places}
        targets: dict[HostFolder, Gateway] = {}
        for key, place in known.items():
            if place is not None and not self._has(place, state):
                targets.setdefault(place, gateways[key])
        for source, destination in self._files if targets else ():
            _copy(source, destination, targets)
        self._pushed.update(dict.fromkeys(targets, (state, time.monotonic())))
        if (dispatcher := self._dispatcher()) is not None:
            dispatcher.files_came(list(known))

    def _has(self, place: HostFolder, state: tuple[Any, ...]) -> bool:
        """Whether a place had the files just now."""
        known, seen = self._pushed.get(place, ((), 0.0))
        return known == state and time.monotonic() - seen < LOOK_THERE


def _usable(pool: Any) -> list[str]:
    return [str(facts["worker"]) for facts in pool.workers if "problem" not in facts]


def _gateway(pool: Any, hub: Hub, worker: str) -> Gateway:
    """Return a gateway to a worker that may not have run the pool's initializer."""
    return Gateway(pool, hub, worker, port=EarlyPort(hub, worker))


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
