"""The deployment protocol: where controller and engines live, how one is opened, and its listener."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from nbpar.cluster.per_worker import PerWorker
from nbpar.core.checks import Variables, at_least, check_flag, environment_variables
from nbpar.core.text import short
from nbpar.errors import ClusterError

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True, slots=True)
class Engine:
    """A usable engine."""

    id: int
    """Its number at the controller; a replacement gets a new one."""

    uuid: str
    """Its identity at the controller."""

    host: str
    """Name of its machine; "" while unknown."""

    pid: int | None
    """Its process there; None while unknown."""

    slot: int = 0
    """Its place among workers that have variables of their own; 0 if all have the same."""

    @property
    def worker(self) -> str:
        """Its name in a pool."""
        return f"engine {self.id}"


def surplus(engines: Sequence[Engine], wanted: int) -> list[Engine]:
    """Return the engines to end so that `wanted` are left: the last ones of the hosts that have most of them.

    The last ones are those in the highest slots, so that the others share devices evenly, then the newest.

    Args:
        engines: those that are there, oldest first.
        wanted: how many are to stay.
    """
    staying, ending = sorted(engines, key=lambda engine: engine.slot), []
    while len(staying) > max(0, wanted):
        number = Counter(engine.host for engine in staying)
        fullest = max(number.values())
        last = next(engine for engine in reversed(staying) if number[engine.host] == fullest)
        staying.remove(last)
        ending.append(last)
    return ending


@dataclass(frozen=True, slots=True)
class Lifetime:
    """When an engine ends by itself, because its job has a time limit."""

    ends: float
    """That time, on the monotonic clock."""

    span: float
    """Seconds from the start of a new one to its end."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of a cluster's engines."""

    preload: tuple[str, ...] = ()
    """Modules imported before engines are forked."""

    environment: Variables = ()
    """Variables added to this process's environment."""

    folder: str | None = None
    """Working directory; None: this process's."""

    nice: int = 0
    """Decrease of their priority."""

    heal: bool = True
    """Whether engines that die are replaced."""

    per_worker: PerWorker | None = None
    """Variables of each engine, besides `environment`; None if all have the same."""

    @property
    def kept(self) -> Collection[str]:
        """The names of the variables that do not follow this process's; more of them may come."""
        names = [name for name, _ in self.environment]
        if self.per_worker is None:
            return names
        self.per_worker.names.update(names)
        return self.per_worker.names

    def in_slot(self, slot: int) -> Settings:
        """Return the settings of the engine in a slot, with its own variables among the others."""
        if self.per_worker is None:
            return self
        variables = {**dict(self.environment), **self.per_worker.of(slot)}
        return replace(self, environment=tuple(variables.items()), per_worker=None)

    @classmethod
    def of(
        cls, *, preload: Any, env: Any, cwd: Any, nice: Any, heal: Any, per_worker: PerWorker | None = None
    ) -> Self:
        """Return the settings that a user gives by these names.

        Raises:
            TypeError, ValueError: one is invalid; the message says what is allowed.
        """
        variables = () if env is None else environment_variables("env", env)
        priority = 0 if nice is None else at_least(LEAST_NICE, "nice", nice, "None or ")
        if priority > MOST_NICE:
            raise ValueError(f"nice must be at most {MOST_NICE}, was {priority}")
        check_flag("heal", heal)
        return cls(_modules(preload), variables, _folder(cwd), priority, bool(heal), per_worker)


LEAST_NICE, MOST_NICE = -20, 19
"""Range of the decrease of a priority."""


def _modules(names: Any) -> tuple[str, ...]:
    if isinstance(names, (str, bytes)) or not isinstance(names, Iterable):
        hint = f"; write `[{names!r}]`" if isinstance(names, str) else ""
        raise TypeError(f"preload must be a list of names of modules, was {short(names)}{hint}")
    found = tuple(names)
    for name in found:
        if not isinstance(name, str) or not name or name.startswith("."):
            raise TypeError(f"preload must have full names of modules, as for `import`, had {short(name)}")
    return found


def _folder(folder: Any) -> str | None:
    if folder is None:
        return None
    try:
        path = os.fsdecode(folder)
    except TypeError:
        raise TypeError(f"cwd must be None or a path, was {short(folder)}") from None
    if not path or "\0" in path:
        raise ValueError(f"cwd must be None or a path, was {short(folder)}")
    return path


class DeploymentListener(Protocol):
    """Receives the events of a deployment; called from any thread, must not block."""

    def engine_died(self, uuid: str, reason: str, *, for_good: bool = True) -> None:
        """A process ended, possibly before it registered."""

    def engine_replaced(self) -> None:
        """An engine is starting in place of a dead one."""

    def broke(self, reason: str) -> None:
        """The deployment is unusable."""


class Deployment(Protocol):
    """The processes of a controller and its engines."""

    directory: Path | None
    """A private directory of the deployment, or None."""

    def open(self, engines: int, timeout: float) -> dict[str, Any]:
        """Start controller and engines; return the connection data of a client.  Does not wait for engines.

        Raises:
            ClusterError: the controller did not start.
        """

    def attach(self, client: Any) -> None:
        """Use this client for engines that are otherwise unreachable."""

    def add(self, count: int) -> None:
        """Start more engines, without waiting for them; retries after giving up."""

    def withdraw(self, count: int) -> None:
        """Give up a number of engines that have not registered yet, if possible."""

    def remove(self, uuids: Sequence[str]) -> None:
        """End engines without replacing them."""

    def kill(self, uuid: str, reason: str) -> None:
        """Kill one engine, which is replaced if the deployment heals."""

    def interrupt(self, uuid: str) -> bool:
        """Send an engine SIGINT; return False if it is gone, or if that is impossible."""

    def registered(self, uuid: str) -> None:
        """The controller has registered an engine."""

    def left(self, uuid: str) -> None:
        """The controller has removed an engine; an unwanted removal is explained."""

    def coming(self) -> int:
        """Number of engines that were started and have not registered yet."""

    def awaited(self, engines: int) -> int:
        """Of a number of engines, those to wait for; others may come much later."""

    def waiting(self) -> str:
        """What engines that are coming wait for, "" if there is nothing to say."""

    def locate(self, uuid: str) -> tuple[str, int | None]:
        """Host and pid of an engine, `("", None)` if unknown."""

    def slot(self, uuid: str) -> int:
        """The slot of an engine; 0 if that is unknown, or all have the same variables."""

    def lifetime(self, uuid: str) -> Lifetime | None:
        """When an engine ends by itself; None if it does not, or if that is unknown."""

    def lapsed(self) -> bool:
        """Whether engines have ended by themselves that are to be started again when there is work."""

    def problem(self) -> str:
        """The reason why engines will not come, "" while they may."""

    def logs(self) -> str:
        """The ends of the logs, for a message."""

    def close(self) -> None:
        """End everything and wait until nothing is left.  Idempotent."""


class UnqueuedEngines:
    """The part of a deployment whose engines come soon, are alike, and do not end by themselves."""

    def slot(self, _uuid: str) -> int:
        """Return 0: all have the same variables."""
        return 0

    def awaited(self, engines: int) -> int:
        """All of them."""
        return engines

    def waiting(self) -> str:
        """Return nothing: they come soon."""
        return ""

    def lifetime(self, _uuid: str) -> Lifetime | None:
        """Return None: they do not end by themselves."""
        return None

    def lapsed(self) -> bool:
        """Return False, likewise."""
        return False


PORT_ATTEMPTS = 5
"""Number of attempts to open a deployment if its ports are taken."""

PORT_TAKEN = "Address already in use"
"""Message in its controller's log in that case."""


def open_with_free_ports(open_: Callable[[], None], undo: Callable[[], None]) -> None:
    """Open a deployment; retry if another process took a port between its choice and its use.

    Raises:
        ClusterError: the deployment's; `undo` was called for all attempts but the last.
    """
    for _ in range(PORT_ATTEMPTS - 1):
        try:
            return open_()
        except ClusterError as error:
            if PORT_TAKEN not in str(error):
                raise
            undo()
    return open_()


def with_logs(message: str, logs: str) -> str:
    """The message, followed by the ends of the logs, if any."""
    return f"{message}; the logs end with:\n{logs}" if logs else message


class Startable:
    """What follows from `start` and `stop`."""

    def start(self) -> Self:
        """Start; returns itself."""
        raise NotImplementedError

    def stop(self) -> None:
        """End what was started."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __await__(self) -> Generator[Any, None, Self]:
        import asyncio

        return asyncio.to_thread(self.start).__await__()

    async def __aenter__(self) -> Self:
        return await self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        import asyncio

        await asyncio.to_thread(self.stop)
