"""Controller and engines as one thing with a life."""

from __future__ import annotations

import atexit
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from nbpar.cluster.forked import ForkedRoom
from nbpar.cluster.limits import usable_cpus
from nbpar.cluster.members import Members
from nbpar.cluster.opening import check_descriptors, checked_count, open_client
from nbpar.cluster.room import Engine, Room, Settings, with_logs
from nbpar.cluster.spare import template_for
from nbpar.cluster.state import ClusterState
from nbpar.cluster.warm import can_fork
from nbpar.errors import ClusterError

if TYPE_CHECKING:
    from typing_extensions import Self

ANSWER_TIMEOUT = 10.0
"""Seconds for a controller that is ready to answer."""

PORT_ATTEMPTS = 5
"""How often a controller is started when its ports are taken."""

PORT_TAKEN = "Address already in use"
"""What its log says then."""


class Cluster(ClusterState):
    """An ipyparallel controller and engines that start at once, heal, and leave nothing behind.

    Everything ends with this process, however that ends.  All methods may be called from any
    thread, also inside a notebook's kernel.

    Args:
        n: number of engines; by default one for each CPU this process may use.
        engines: "nbpar" forks them from a warm process; any other name ("local", "ssh", "slurm",
            "mpi", ...) or launcher class is ipyparallel's.
        preload: modules to import once, before the engines are forked.
        env: variables for the engines, on top of this process's.
        cwd: folder the engines start in; by default the current one.
        nice: how much to lower the engines' priority, as `os.nice` counts.
        start_timeout: seconds to wait for engines.
        heal: whether engines that die are replaced.
        options: what else ipyparallel's own Cluster takes, for engines other than "nbpar".

    Example:
        >>> with Cluster(2) as cluster:
        ...     cluster.client[:].apply_sync(sum, [1, 2])
        [3, 3]
    """

    def __init__(
        self,
        n: int | None = None,
        *,
        engines: Any = "nbpar",
        preload: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        nice: int | None = None,
        start_timeout: float = 60.0,
        heal: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(usable_cpus() if n is None else checked_count(n))
        self._engines = "local" if engines == "nbpar" and not can_fork() else engines
        if options and self._engines == "nbpar":
            names = ", ".join(map(repr, options))
            raise TypeError(f"Cluster() takes {names} only for ipyparallel's launchers, as in engines='ssh'")
        self._options = options
        folder = None if cwd is None else os.fspath(cwd)
        variables = tuple((env or {}).items())
        self._settings = Settings(tuple(preload), variables, folder, nice or 0, heal)
        self._start_timeout = start_timeout

    @property
    def forked(self) -> bool:
        """Whether its engines are forked from a process on this host."""
        return bool(self._engines == "nbpar")

    # ---- life

    def start(self) -> Self:
        """Start controller and engines and wait until all engines can be used; nothing happens when they run.

        Raises:
            ClusterError: they did not come; the message says why and shows their logs, and nothing is left.
        """
        with self._life:
            if self.running:
                return self
            self._tear_down()
            check_descriptors()
            deadline = time.monotonic() + self._start_timeout
            try:
                self._open_with_free_ports(deadline)
                self._await_engines(self._n, deadline)
            except BaseException:
                self._tear_down()
                raise
            atexit.register(self.stop)
        return self

    def stop(self) -> None:
        """End everything; when it returns nothing is left.  May be called twice."""
        if os.getpid() != self._owner_pid:  # a fork of the owner must not end the owner's engines
            return
        with self._life:
            self._tear_down()
        atexit.unregister(self.stop)

    def resize(self, n: int) -> None:
        """Have `n` engines from now on; returns when new ones can be used.

        Engines that go are the newest; what they run is lost.
        """
        wanted = checked_count(n)
        with self._life:
            room, _ = self._running()
            uuids = [engine.uuid for engine in self.engines]
            if len(uuids) > wanted:
                self.remove(uuids[wanted:])
            else:
                room.add(max(0, wanted - len(uuids) - room.coming()))
                self._await_engines(wanted, time.monotonic() + self._start_timeout)
            self._n = wanted

    def remove(self, uuids: Sequence[str]) -> None:
        """End certain engines, which are not replaced; returns when the controller has struck them off."""
        with self._life:
            room, members = self._running()
            known = members.ids()
            gone = [uuid for uuid in uuids if uuid in known]
            self._n = max(0, self._n - len(gone))
            self._listeners.explain(gone, "removed from the cluster")
            room.remove(gone)
            members.wait_struck({known[uuid] for uuid in gone}, 5.0)

    def restart(self, engine: Engine | str | int | None = None) -> None:
        """Replace one engine (a record, an identity or an id), or everything; what they run is lost."""
        with self._life:
            if engine is None:
                self._tear_down()
                self.start()
                return
            uuid = self._identify(engine)
            room, members = self._running()
            known, deadline = members.ids(), time.monotonic() + self._start_timeout
            self.kill(uuid, "restarted")
            if not self._settings.heal:
                room.add(1)
            members.wait_struck({known[uuid]}, self._start_timeout)
            self._await_engines(len(known), deadline)

    def kill(self, engine: Engine | str | int, reason: str = "killed") -> None:
        """Kill one engine at once; it is replaced when the cluster heals.  Listeners hear `reason`."""
        room, _ = self._running()
        uuid = self._identify(engine)
        self._listeners.explain([uuid], reason)
        room.kill(uuid, reason)

    # ---- what the room says, from any thread

    def engine_died(self, uuid: str, reason: str) -> None:
        """An engine's process has ended by itself."""
        if self._members is not None:
            self._members.drop(uuid)
        self._listeners.died(uuid, reason)

    def engine_replaced(self) -> None:
        """A new engine is on its way."""
        self._replaced += 1

    def broke(self, reason: str) -> None:
        """Nothing will work any more: fail what waits, end what is left."""
        self._broken = self._broken or reason
        room, members = self._room, self._members
        if members is not None:
            for uuid in members.ids():
                self._listeners.died(uuid, reason)
            members.strand(reason)
            members.wake()
        if room is not None:
            room.close()

    # ---- what the client says, in its thread

    def engine_joined(self, uuid: str) -> None:
        """The controller has taken an engine in."""
        if self._room is not None:
            self._room.registered(uuid)
        self._listeners.joined(uuid)

    def engine_left(self, uuid: str) -> None:
        """The controller has struck an engine off."""
        if self._room is not None:
            self._room.left(uuid)

    # ---- steps

    def _open_with_free_ports(self, deadline: float) -> None:
        """Open the room; again when somebody took a port between its choice and its use."""
        for _ in range(PORT_ATTEMPTS - 1):
            try:
                return self._open_room(deadline)
            except ClusterError as error:
                if PORT_TAKEN not in str(error):
                    raise
                self._tear_down()
        return self._open_room(deadline)

    def _open_room(self, deadline: float) -> None:
        self._broken = ""
        self._room = self._make_room()
        connection = self._room.open(self._n, max(0.1, deadline - time.monotonic()))
        self._client = open_client(connection, self._room.directory, ANSWER_TIMEOUT)
        self._room.attach(self._client)
        self._members = Members(self._client, self)

    def _make_room(self) -> Room:
        if self._engines == "nbpar":
            return ForkedRoom(template_for(self._settings, self._n), self._settings, self)
        from nbpar.cluster.launched import LaunchedRoom

        return LaunchedRoom(self._engines, self._options, self._settings, self)

    def _await_engines(self, count: int, deadline: float) -> None:
        room, members = self._room, self._members
        if room is None or members is None:
            raise ClusterError("the cluster was stopped while it started")
        members.wait(
            lambda ids: len(ids) >= count or bool(self._broken or room.problem()),
            max(0.0, deadline - time.monotonic()),
        )
        came = len(members.ids())
        if came < count:
            why = self._broken or room.problem() or f"they did not come within {self._start_timeout:g} s"
            raise ClusterError(with_logs(f"{came} of {count} engines came up: {why}", room.logs()))

    def _tear_down(self) -> None:
        client, self._client = self._client, None
        members, self._members = self._members, None
        room, self._room = self._room, None
        if members is not None:
            members.forget()
        if client is not None:
            with suppress(Exception):  # a broken connection must not keep processes alive
                client.close(linger=0)
        if room is not None:
            room.close()
        self._broken = ""
