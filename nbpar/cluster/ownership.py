"""Keep threads from holding their cluster, and end a cluster that was dropped.

Room and client have threads, which live until the cluster is stopped: it could never be dropped.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from nbpar.cluster.base import Deployment, DeploymentListener
from nbpar.cluster.members import MemberList, MembersListener
from nbpar.host.interpreter_exit import interpreter


class Owner(DeploymentListener, MembersListener, Protocol):
    """A cluster, as far as its threads know it."""

    def stop(self) -> None:
        """End everything."""


class Occupancy:
    """Stands for a cluster as the `DeploymentListener` of a room and the `MembersListener` of a client."""

    def __init__(self, cluster: Owner) -> None:
        self._cluster = weakref.ref(cluster)

    def engine_died(self, uuid: str, reason: str, *, for_good: bool = True) -> None:
        """A process ended, perhaps before the controller had taken it in."""
        if (cluster := self._cluster()) is not None:
            cluster.engine_died(uuid, reason, for_good=for_good)

    def engine_replaced(self) -> None:
        """A new engine is on its way in place of a dead one."""
        if (cluster := self._cluster()) is not None:
            cluster.engine_replaced()

    def broke(self, reason: str) -> None:
        """The room is of no more use."""
        if (cluster := self._cluster()) is not None:
            cluster.broke(reason)

    def engine_joined(self, uuid: str) -> None:
        """An engine can be used."""
        if (cluster := self._cluster()) is not None:
            cluster.engine_joined(uuid)

    def engine_left(self, uuid: str) -> None:
        """The controller has struck an engine off."""
        if (cluster := self._cluster()) is not None:
            cluster.engine_left(uuid)


def close_down(members: MemberList | None, client: Any, room: Deployment | None) -> None:
    """End what there is; when it returns nothing is left."""
    if members is not None:
        members.forget()
    if client is not None:
        with suppress(Exception):  # a broken connection must not keep processes alive
            client.close(linger=0)
    if room is not None:
        room.close()


def clean_up(
    at_exit: Callable[[], None], members: MemberList | None, client: Any, room: Deployment | None
) -> None:
    """End what there is of a cluster that was dropped, and forget what would have ended it at the exit."""
    close_down(members, client, room)
    interpreter.forget(at_exit)


def stop_at_exit(reference: weakref.ref[Owner]) -> None:
    """Stop a cluster if it still exists."""
    if (cluster := reference()) is not None:
        cluster.stop()
