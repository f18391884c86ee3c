"""The state of a cluster as everybody may read it: engines, client, health, listeners."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nbpar.cluster.base import Deployment, Engine, Lifetime, Settings, Startable
from nbpar.cluster.client import check_descriptors
from nbpar.cluster.members import DeathListener, JoinListener, Listeners, MemberList
from nbpar.errors import ClusterError
from nbpar.host.janitor import Janitor


class ClusterState(Startable):
    """The part of a cluster that changes nothing.

    Args:
        n: intended number of engines.
    """

    _janitor: Janitor | None = None
    """Cleans up when it is dropped, from its start to its stop."""

    is_kept = False
    """Whether its owner is sure to stop it, so that it may be dropped."""

    _settings = Settings()
    """Settings of its engines."""

    direct = False
    """Whether only one pool uses it, so that it needs no controller; to be set before it starts."""

    def __init__(self, n: int) -> None:
        self._n = n
        self._engines: Any = "nbpar"
        self._heal = True
        self._owner_pid = os.getpid()
        self._life = threading.RLock()  # held while starting, stopping and resizing
        self._room: Deployment | None = None
        self._members: MemberList | None = None
        self._client: Any = None
        self._broken = ""
        self._replaced = 0
        self._last_end = ""
        self._stops: set[object] = set()  # active calls of `stop`
        self.was_stopped = False
        """Whether it was stopped on purpose since its last start."""

        self._listeners = Listeners()

    @property
    def client(self) -> Any:
        """The connected `ipyparallel.Client`; the cluster closes it, and lives as long as it is open.

        Raises:
            ClusterError: the cluster does not run, or has no controller.
        """
        client = self.own_client
        if self.direct:
            raise ClusterError("it has no controller; a pool of `cluster=nbpar.Cluster(n)` has one")
        client.nbpar_cluster = self  # views hold the client
        return client

    @property
    def own_client(self) -> Any:
        """The client, for those who hold the cluster as well.

        Raises:
            ClusterError: the cluster does not run.
        """
        self._running()
        return self._client

    @property
    def engines(self) -> tuple[Engine, ...]:
        """The usable engines, oldest first; empty if the cluster is not running."""
        room, members = self._room, self._members
        if room is None or members is None:
            return ()
        known = sorted(members.ids().items(), key=lambda item: item[1])
        return tuple(
            Engine(engine_id, uuid, *room.locate(uuid), room.slot(uuid)) for uuid, engine_id in known
        )

    @property
    def running(self) -> bool:
        """Whether it was started and works."""
        return self._client is not None and not self._broken

    @property
    def problem(self) -> str:
        """Why it broke, or why dead engines are no longer replaced; "" if there is no problem."""
        return self._broken or (self._room.problem() if self._room is not None else "")

    @property
    def forked(self) -> bool:
        """Whether its engines are forked from a fork server on this host."""
        return bool(self._engines == "nbpar")

    @property
    def on_this_host(self) -> bool:
        """Whether its engines are certainly processes of this user on this host."""
        return self._engines in ("nbpar", "local")

    @property
    def n(self) -> int:
        """Its intended number of engines."""
        return self._n

    @property
    def short(self) -> bool:
        """Whether it has fewer engines than intended."""
        members = self._members
        return members is not None and len(members.ids()) < self._n

    @property
    def coming(self) -> int:
        """Number of starting engines, replacements included."""
        room = self._room
        return room.coming() if room is not None and not self.problem else 0

    @property
    def waiting(self) -> str:
        """What starting engines wait for, such as "job 5 is pending (Resources), for 3 min"; or ""."""
        room = self._room
        return room.waiting() if room is not None and self.coming else ""

    @property
    def attendance(self) -> str:
        """How many of its engines are there, if others wait for something: "3 of 4 engines; job 5 is ..."."""
        waiting = self.waiting
        return f"{len(self.engines)} of {self._n} engines; {waiting}" if waiting else ""

    @property
    def limited(self) -> bool:
        """Whether its engines have a time limit."""
        return self._queued and self._engines.description.seconds > 0

    @property
    def _queued(self) -> bool:
        """Whether its engines are jobs of a batch system."""
        if isinstance(self._engines, str):
            return False
        from nbpar.cluster.batch.jobs import Jobs

        return isinstance(self._engines, Jobs)

    def lifetime(self, worker: str) -> Lifetime | None:
        """When the engine that is this worker of a pool ends by itself; None if that is unknown."""
        room, members = self._room, self._members
        if room is None or members is None:
            return None
        known = (uuid for uuid, number in members.ids().items() if f"engine {number}" == worker)
        return next((room.lifetime(uuid) for uuid in known), None)

    @property
    def heals(self) -> bool:
        """Whether dead engines are replaced."""
        return self._heal

    @property
    def replaced(self) -> int:
        """Number of engines replaced so far."""
        return self._replaced

    @property
    def directory(self) -> Path | None:
        """A private directory of the cluster, with a path short enough for sockets; or None."""
        return self._room.directory if self._room is not None else None

    def on_death(self, listener: DeathListener) -> Callable[[], None]:
        """Call `listener(uuid, reason)`, in any thread, when an engine is gone; returns a remover."""
        return self._listeners.add_death(listener)

    def on_join(self, listener: JoinListener) -> Callable[[], None]:
        """Call `listener(uuid)`, in any thread, when an engine is ready; returns a remover."""
        return self._listeners.add_join(listener)

    def __repr__(self) -> str:
        state = "running" if self.running else "broken" if self._broken else "stopped"
        waiting = f"; {waits}" if (waits := self.waiting) else ""
        return (
            f"<nbpar.Cluster {state}: {len(self.engines)} of {self._n} engines, {self._engines!r}{waiting}>"
        )

    def _running(self) -> tuple[Deployment, MemberList]:
        if self._broken:
            raise ClusterError(f"{self._broken}; start the cluster again with its `restart()`")
        if self._room is None or self._members is None:
            raise ClusterError("the cluster is not running; start it with its `start()` or in a `with` block")
        return self._room, self._members

    def _check_number(self, engines: int, more: int | None) -> None:
        """Raise unless there can be a number of engines, `more` than now; None: of a cluster that starts."""
        check_descriptors(engines, more=more, forked=self.forked, direct=self.direct)
        # a pool's own has more for a while: those that leave
        if (each := self._settings.per_worker) is not None and not self.is_kept:
            each.check(engines)

    def _identify(self, engine: Engine | str | int) -> str:
        for known in self.engines:
            if engine in (known, known.uuid, known.id):
                return known.uuid
        ids = [known.id for known in self.engines]
        raise ClusterError(f"no engine {engine!r} in the cluster; its engines are {ids}")
