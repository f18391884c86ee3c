"""What is known of each process that a room has ordered from its template."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, Protocol

from nbpar.cluster.deaths import Death
from nbpar.cluster.orders import Line


class Household(Protocol):
    """Who wants to know when they end."""

    def engine_ended(self, process: EngineProcess, reason: str) -> None:
        """An engine is gone."""

    def controller_ended(self, reason: str) -> None:
        """The controller is gone."""


@dataclass
class EngineProcess:
    """One engine's process, from order to end."""

    room: Household
    key: str
    pid: int = 0
    known: bool = False
    """Whether the controller has taken it in."""

    expected: bool = False
    """Whether it was asked to end."""

    killed_for: str = ""
    """Why it was killed from here."""

    def forked(self, pid: int) -> None:
        self.pid = pid

    def ready(self, connection: Line) -> None:
        """Only controllers say this."""

    def ended(self, death: Death) -> None:
        self.room.engine_ended(self, self.killed_for or death.reason)

    def failed(self, reason: str) -> None:
        self.room.engine_ended(self, f"it could not be started: {reason}")


class ControllerProcess:
    """The controller's process, from order to end."""

    def __init__(self, room: Household) -> None:
        self._room = room
        self.pid = 0
        self.settled = threading.Event()
        self.connection: dict[str, Any] | None = None
        self.reason = ""

    def forked(self, pid: int) -> None:
        self.pid = pid

    def ready(self, connection: Line) -> None:
        self.connection = connection
        self.settled.set()

    def ended(self, death: Death) -> None:
        self.failed(death.reason)

    def failed(self, reason: str) -> None:
        self.reason = self.reason or reason
        self.settled.set()
        self._room.controller_ended(self.reason)
