"""What can be seen of a cluster at any moment, from any thread."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nbpar.cluster.forms import Forms
from nbpar.cluster.listeners import DeathListener, JoinListener, Listeners
from nbpar.cluster.members import Members
from nbpar.cluster.room import Engine, Room
from nbpar.errors import ClusterError


class ClusterState(Forms):
    """The part of a cluster that changes nothing.

    Args:
        n: number of engines it is meant to have.
    """

    def __init__(self, n: int) -> None:
        self._n = n
        self._engines: Any = "nbpar"
        self._owner_pid = os.getpid()
        self._life = threading.RLock()  # held while starting, stopping and resizing
        self._room: Room | None = None
        self._members: Members | None = None
        self._client: Any = None
        self._broken = ""
        self._replaced = 0
        self._listeners = Listeners()

    @property
    def client(self) -> Any:
        """The connected `ipyparallel.Client`; the cluster closes it.

        Raises:
            ClusterError: the cluster does not run.
        """
        self._running()
        return self._client

    @property
    def engines(self) -> tuple[Engine, ...]:
        """The engines that can be used now, oldest first; empty when the cluster does not run."""
        room, members = self._room, self._members
        if room is None or members is None:
            return ()
        known = sorted(members.ids().items(), key=lambda item: item[1])
        return tuple(Engine(engine_id, uuid, *room.locate(uuid)) for uuid, engine_id in known)

    @property
    def running(self) -> bool:
        """Whether it has been started and works."""
        return self._client is not None and not self._broken

    @property
    def problem(self) -> str:
        """Why it broke, or why dead engines are not replaced any more; "" when all is well."""
        return self._broken or (self._room.problem() if self._room is not None else "")

    @property
    def n(self) -> int:
        """The number of engines it is meant to have."""
        return self._n

    @property
    def coming(self) -> int:
        """How many engines are on their way, replacements included."""
        room = self._room
        return room.coming() if room is not None and not self.problem else 0

    @property
    def replaced(self) -> int:
        """How many engines have been replaced since it was made."""
        return self._replaced

    @property
    def directory(self) -> Path | None:
        """A private directory that goes with the cluster, its path short enough for sockets; or None."""
        return self._room.directory if self._room is not None else None

    def on_death(self, listener: DeathListener) -> Callable[[], None]:
        """Call `listener(uuid, reason)`, in any thread, when an engine is gone; returns how to end that."""
        return self._listeners.add_death(listener)

    def on_join(self, listener: JoinListener) -> Callable[[], None]:
        """Call `listener(uuid)`, in any thread, when an engine can be used; returns how to end that."""
        return self._listeners.add_join(listener)

    def __repr__(self) -> str:
        state = "running" if self.running else "broken" if self._broken else "stopped"
        return f"<nbpar.Cluster {state}: {len(self.engines)} of {self._n} engines, {self._engines!r}>"

    def _running(self) -> tuple[Room, Members]:
        if self._broken:
            raise ClusterError(f"{self._broken}; start the cluster again with its `restart()`")
        if self._room is None or self._members is None:
            raise ClusterError("the cluster is not running; start it with its `start()` or in a `with` block")
        return self._room, self._members

    def _identify(self, engine: Engine | str | int) -> str:
        for known in self.engines:
            if engine in (known, known.uuid, known.id):
                return known.uuid
        ids = [known.id for known in self.engines]
        raise ClusterError(f"no engine {engine!r} in the cluster; its engines are {ids}")
