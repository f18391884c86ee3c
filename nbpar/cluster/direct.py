"""Workers of one pool without a controller: its fork server passes on what enters them.

Nothing of ipyparallel is needed for a pool's own work: streams carry it, and the fork server knows what its
children do.  So such workers serve their first item before any process could have imported ipyparallel.
"""

from __future__ import annotations

import base64
import itertools
import pickle
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Literal, cast

from nbpar.cluster.base import Settings
from nbpar.cluster.fork_server.protocol import Line
from nbpar.cluster.fork_server.server import ForkServer
from nbpar.cluster.forked import SILENT, EngineProcess, ForkedDeployment
from nbpar.cluster.members import MemberList
from nbpar.cluster.ownership import Occupancy
from nbpar.errors import ClusterError


class EngineError(Exception):
    """A worker ended while its loop ran; ipyparallel has an exception of this name for its engines."""


class LoopError(Exception):
    """A loop ended with an exception.

    Args:
        ename: name of its class.
        evalue: its text.
    """

    def __init__(self, ename: str, evalue: str) -> None:
        super().__init__(f"{ename}: {evalue}")
        self.ename = ename
        self.evalue = evalue


@dataclass
class WorkerProcess(EngineProcess):
    """One worker's process, from order to end."""

    number: int = 0
    """Its number, as a controller counts engines."""

    halt: object | None = None
    """Stands for the time for which it has been stopped; None while it is not."""

    def said(self, line: Line) -> None:
        """Handle what it reports, or its fork server of it."""
        room = cast("DirectDeployment", self.room)
        if "stopped" in line:
            room.halted(self, stopped=line["stopped"])
        elif "left" in line:
            room.access.left(self.key, line["left"], line["failure"])
        else:
            room.came_up(self)


class DirectAccess:
    """The way into workers: what a pool otherwise has an ipyparallel Client for.  Thread-safe.

    Args:
        tell: sends a line to a worker, by its identity.
        members: the workers that are there.
    """

    def __init__(self, tell: Callable[[str, Line], None], members: MemberList) -> None:
        self._tell = tell
        self._members = members
        self._lock = threading.Lock()
        self._visits = itertools.count()
        self._running: dict[tuple[str, int], Future[None]] = {}
        """Loops that were begun, by the worker's identity and their number."""

    @property
    def outstanding(self) -> bool:
        """Whether any loop runs."""
        return bool(self._running)

    def listed(self) -> dict[int, str]:
        """Return the identities of the workers that are there, by number."""
        return {number: uuid for uuid, number in self._members.ids().items()}

    def enter(self, uuid: str, program: str, settings: dict[str, Any]) -> Future[None]:
        """Run a program in a worker's main thread, after those before it; return its end.

        Raises:
            LookupError: the worker is gone.
        """
        end: Future[None] = Future()
        with self._lock:
            if uuid not in self._members.ids():
                raise LookupError(uuid)
            visit = next(self._visits)
            self._running[uuid, visit] = end
        packed = base64.b64encode(pickle.dumps((program, settings))).decode("ascii")
        self._tell(uuid, {"enter": visit, "packed": packed})
        return end

    def left(self, uuid: str, visit: int, failure: list[str] | None) -> None:
        """Handle the end of a loop."""
        with self._lock:
            end = self._running.pop((uuid, visit), None)
        if end is not None:
            _settle(end, None if failure is None else LoopError(*failure))

    def lost(self, uuids: Sequence[str], reason: str) -> None:
        """Handle the end of workers, and so of their loops."""
        with self._lock:
            ends = [self._running.pop(key) for key in list(self._running) if key[0] in uuids]
        for end in ends:
            _settle(end, EngineError(reason))

    def close(self, **_: Any) -> None:
        """Do nothing: it has no connection of its own."""


def _settle(end: Future[None], error: Exception | None) -> None:
    if error is None:
        end.set_result(None)
    else:
        end.set_exception(error)


class DirectMembers(MemberList):
    """The workers that are there; their deployment tells of them."""

    access: DirectAccess
    """Has what waits for them."""

    def drop(self, uuids: Sequence[str]) -> threading.Event:
        """Remove workers permanently."""
        self._strike(uuids)
        done = threading.Event()
        done.set()
        return done

    def strand(self, reason: str) -> None:
        """Fail all that waits: no answers will come."""
        self.access.lost(list(self.ids()), reason)

    def forget(self) -> None:
        """Do nothing: there is no client to stop listening to."""


class DirectDeployment(ForkedDeployment):
    """Workers that are children of one template, and nothing else."""

    engine_kind: Literal["engine", "worker"] = "worker"

    silence = 30.0
    """Seconds for which a worker may be stopped, as a controller gives up engines."""

    def __init__(self, template: ForkServer, settings: Settings, occupant: Occupancy) -> None:
        super().__init__(template, settings, occupant)
        self._listener = occupant
        self.members = DirectMembers()
        self.access = DirectAccess(template.tell, self.members)
        self.members.access = self.access

    def open(self, engines: int, timeout: float) -> dict[str, Any]:  # noqa: ARG002 (there is no wait)
        self._planned = engines
        self.add(engines)
        if reason := self.problem():
            raise ClusterError(self._with_logs(reason))
        return {}

    def came_up(self, process: WorkerProcess) -> None:
        """Handle a worker that is ready to be entered."""
        if self.members.join(process.key, process.number):
            self._listener.engine_joined(process.key)

    def halted(self, process: WorkerProcess, *, stopped: bool) -> None:
        """Kill a worker that is stopped for so long that it counts as hanging."""
        process.halt = halt = object() if stopped else None

        def give_up() -> None:
            if process.halt is halt:
                self.kill(process.key, SILENT)

        if stopped:
            self._later(self.silence, give_up)

    def engine_ended(self, process: EngineProcess, reason: str) -> None:
        """Handle the end of a worker, whose loop has ended with it."""
        self.members.drop([process.key])
        self.access.lost([process.key], reason)
        super().engine_ended(process, reason)

    def _process(self, key: str, number: int) -> EngineProcess:
        return WorkerProcess(self, key, number=number - 1)

    def _engine_arguments(self, key: str, folder: str) -> list[str]:  # noqa: ARG002 (it needs none)
        return []
