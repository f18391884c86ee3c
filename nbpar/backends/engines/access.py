"""The way into engines: run a program in one's main thread, through a controller or without one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, Protocol

from nbpar.backends.base import WorkerId
from nbpar.backends.engines.engine import EngineLoop
from nbpar.cluster.client import own_request, used_by_others
from nbpar.cluster.direct import DirectAccess
from nbpar.wire.shipping import shipment


class Access(Protocol):
    """What a pool needs of those who started the engines."""

    client: Any
    """The ipyparallel client that leads to engines elsewhere; None if all are on this host."""

    outfit: dict[str, Any]
    """Settings of a loop by which an engine has nbpar."""

    @property
    def used_by_others(self) -> bool:
        """Whether the user's code has run in the engines on another way, and may have kept values there."""

    def listed(self) -> dict[int, str]:
        """Return the identities of the engines in the cluster's list, by number.  Thread-safe."""

    def enter(self, engine_id: int, uuid: str, program: str, settings: dict[str, Any]) -> Any:
        """Run a program in an engine; return what is done when it ends, with the exception that ended it.

        Raises:
            LookupError: it was removed since its number was read.
        """

    def take_back(self, engines: Iterable[EngineLoop]) -> Mapping[WorkerId, Any]:
        """Have engines drop the programs that they have not begun; return what is done when each has agreed.

        They would begin when what runs there is over, and find no client.
        """


def access_to(client: Any) -> Access:
    """Return the way into the engines of an ipyparallel client, or of workers without a controller."""
    return _Direct(client) if isinstance(client, DirectAccess) else _ThroughController(client)


class _ThroughController:
    """By an `apply` of the client."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.outfit = {"sources": shipment()}

    @property
    def used_by_others(self) -> bool:
        return used_by_others(self.client)

    def listed(self) -> dict[int, str]:
        known = ((number, self.client._engines.get(number)) for number in self.client.ids)  # noqa: SLF001 (there is no public way)
        return {number: uuid for number, uuid in known if uuid is not None}

    def enter(self, engine_id: int, uuid: str, program: str, settings: dict[str, Any]) -> Any:  # noqa: ARG002
        from ipyparallel.error import NoEnginesRegistered

        try:
            return own_request(self.client, engine_id, exec, program, {"settings": settings})
        except NoEnginesRegistered as error:
            raise LookupError(engine_id) from error

    def take_back(self, engines: Iterable[EngineLoop]) -> Mapping[WorkerId, Any]:
        from ipyparallel.error import NoEnginesRegistered

        taken_back = {}
        for engine in engines:
            if not engine.ready and not engine.loop.done():
                with suppress(OSError, LookupError, NoEnginesRegistered):  # client or engine is gone
                    taken_back[engine.worker] = self.client.abort(
                        engine.loop, targets=engine.engine_id, block=False
                    )
        return taken_back


class _Direct:
    """By the fork server."""

    client = None
    used_by_others = False

    def __init__(self, access: DirectAccess) -> None:
        self.outfit: dict[str, Any] = {"sources": b""}  # it is a fork of this nbpar
        self._access = access
        self.listed = access.listed

    def enter(self, engine_id: int, uuid: str, program: str, settings: dict[str, Any]) -> Any:  # noqa: ARG002
        return self._access.enter(uuid, program, settings)

    def take_back(self, engines: Iterable[EngineLoop]) -> Mapping[WorkerId, Any]:  # noqa: ARG002
        """Return nothing: such workers run no other code, and end with their pool."""
        return {}
