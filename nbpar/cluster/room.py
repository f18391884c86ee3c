"""What a cluster asks of the place where its controller and engines live."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine that can be used."""

    id: int
    """Its number at the controller; a replacement gets a new one."""

    uuid: str
    """Its identity at the controller."""

    host: str
    """Name of its machine; "" while it is not known."""

    pid: int | None
    """Its process there; None while it is not known."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How the engines of a cluster are to be."""

    preload: tuple[str, ...] = ()
    """Modules that every engine finds imported."""

    environment: tuple[tuple[str, str], ...] = ()
    """Variables added to the kernel's."""

    folder: str | None = None
    """Working directory; the kernel's when None."""

    nice: int = 0
    """How much to lower their priority."""

    heal: bool = True
    """Whether engines that die are replaced."""


class Occupant(Protocol):
    """Who hears what happens in a room; called from any thread, must not block."""

    def engine_died(self, uuid: str, reason: str) -> None:
        """A process ended that had not been asked to."""

    def engine_replaced(self) -> None:
        """A new engine is on its way in place of a dead one."""

    def broke(self, reason: str) -> None:
        """The room is of no more use."""


class Room(Protocol):
    """A controller and engines."""

    directory: Path | None
    """A private directory that goes with the room, None when it has none."""

    def open(self, engines: int, timeout: float) -> dict[str, Any]:
        """Start controller and engines; return what a client needs to connect.  Does not wait for engines.

        Raises:
            ClusterError: the controller did not come.
        """

    def attach(self, client: Any) -> None:
        """Use this client to reach engines that cannot be reached otherwise."""

    def add(self, count: int) -> None:
        """Start more engines, without waiting for them."""

    def remove(self, uuids: Sequence[str]) -> None:
        """End engines; they are not replaced."""

    def kill(self, uuid: str, reason: str) -> None:
        """Kill one engine, which is replaced when the room heals."""

    def registered(self, uuid: str) -> None:
        """The controller has taken an engine in."""

    def left(self, uuid: str) -> None:
        """The controller has struck an engine off; the room says why when it did not want that."""

    def coming(self) -> int:
        """How many engines have been started and not registered yet."""

    def locate(self, uuid: str) -> tuple[str, int | None]:
        """Host and pid of an engine, `("", None)` when the room does not know."""

    def problem(self) -> str:
        """Why engines will not come, "" while there is hope."""

    def logs(self) -> str:
        """The ends of the logs, for a message."""

    def close(self) -> None:
        """End everything and wait until nothing is left; may be called twice."""


def with_logs(message: str, logs: str) -> str:
    """The message, followed by the ends of the logs when there are any."""
    return f"{message}; the logs end with:\n{logs}" if logs else message
