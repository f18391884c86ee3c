"""State of the engines of a backend: in use, leaving, lost; and how to interrupt one."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from multiprocessing.process import current_process
from typing import Any

from nbpar.backends.base import WorkerId
from nbpar.backends.engines.packing import Packing
from nbpar.host.machine import is_here, machine
from nbpar.host.processes import birth
from nbpar.version import __version__


@dataclass
class EngineLoop:
    """One engine whose loop is requested or running."""

    worker: WorkerId
    engine_id: int
    uuid: str
    identity: bytes
    packing: Packing
    facts: dict[str, Any] = field(default_factory=dict)
    local: bool = True
    """Whether it is on this host."""

    streams: bool = True
    """Whether it has a stream to this process, directly or through ssh."""

    ready: bool = False
    loop: Any = None
    """The result of the `apply` that runs the loop."""

    asked: float = field(default_factory=time.monotonic)
    """Time when its loop was requested."""

    heard: float = 0.0
    """Time of its last message."""

    beaten: float = 0.0
    """Time of the last echo from beside its loop."""

    pinged: float = 0.0
    """Time of the last ping."""

    examined: float = 0.0
    """Time of the last look at its process."""

    silent: bool = False
    """Whether it does not answer."""

    @property
    def shares_on(self) -> str:
        """The machine where engines share what they get through one connection; "" for this one, or none."""
        return "" if self.local or not self.streams else str(self.facts.get("machine", ""))

    @property
    def described(self) -> dict[str, Any]:
        """Its facts, for users."""
        return {**self.facts, "silent": True} if self.silent else self.facts


REASON_WAIT = 2.0
"""Seconds to wait for a better reason of an engine's end, or for a good-bye in transit."""

REASONS = 256
"""Number of deaths that are remembered."""

CUT = "its connection was cut"
"""The reason with the lowest priority: usually the process has ended."""

GONE = "EngineError"
"""Start of the reason if ipyparallel itself has answered for an engine that it no longer lists."""

GARBLED = "it said what could not be understood"

TOO_LARGE = "its answer was lost, as happens when it is too large for the memory of this process"

SPOKEN = frozenset({CUT, GARBLED, TOO_LARGE})
"""Reasons about the engine's messages, not about its process, which may continue."""


@dataclass(frozen=True)
class LostEngine:
    """An engine whose loop has ended, or that is unreachable."""

    worker: WorkerId
    uuid: str
    reason: str
    lives: bool = False
    """Whether a new loop may start there."""

    stray: bool = False
    """Whether an exception ended the loop, and its process is unchanged."""

    until: float = 0.0
    """Time until which a reason is awaited."""


class LostEngines:
    """Engines that are ending, and those that will not be used again."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.unfit: set[str] = set()
        """Engines in which no loop may start, though their cluster may still list them."""

        self.dead: set[str] = set()
        """Those of them whose process has ended, or was killed."""

        self.spoiled: set[str] = set()
        """Those of them whose process continues, and is untrustworthy."""

        self._numbers: dict[str, int] = {}
        """The number of each engine at its end."""

        self._clock = clock
        self._going: dict[WorkerId, LostEngine] = {}
        self._reasons: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._going)

    def begin(self, end: LostEngine, *, wait: bool) -> None:
        """Record that an engine is ending; the last of several reasons counts.  `wait` for a better one."""
        before = self._going.get(end.worker)
        if before is not None and before.reason in (GARBLED, TOO_LARGE):
            return  # they cause the end of a loop, which is less specific
        if before is None or end.reason != CUT:
            until = self._clock() + (REASON_WAIT if wait else 0.0)
            self._going[end.worker] = replace(end, until=min(until, before.until) if before else until)

    def number(self, uuid: str, number: int) -> None:
        """Record the number of an engine that is ending."""
        self._numbers[uuid] = number
        while len(self._numbers) > REASONS:
            self._numbers.pop(next(iter(self._numbers)))

    def note(self, uuid: str, reason: str, *, surely: bool = False) -> None:
        """Record why an engine has died; thread-safe.  `surely`: overrides all other reasons."""
        if surely:
            self._reasons[uuid] = reason
        else:
            self._reasons.setdefault(uuid, reason)
        while len(self._reasons) > REASONS:
            self._reasons.pop(next(iter(self._reasons)), None)

    def due(self) -> list[LostEngine]:
        """Return, and remove, those whose reason is known or overdue."""
        now, due = self._clock(), []
        for end in list(self._going.values()):
            known = self._reasons.get(end.uuid)
            if known is not None or now >= end.until:
                del self._going[end.worker]
                due.append(end if known is None else replace(end, reason=known, lives=False, stray=False))
        return due

    def keep(self, listed: set[str]) -> None:
        """Remember only engines in their cluster's list."""
        self.unfit &= listed
        self.dead &= listed
        self.spoiled &= listed

    def take_back(self, listed: Mapping[int, str]) -> None:
        """Forget the ends of engines that their cluster had given up, and lists again with other numbers."""
        for number, uuid in listed.items():
            if self._numbers.get(uuid, number) != number:
                del self._numbers[uuid]
                self.unfit.discard(uuid)
                self.dead.discard(uuid)
                self._reasons.pop(uuid, None)

    def forget(self, worker: WorkerId) -> None:
        """Handle a good-bye."""
        self._going.pop(worker, None)


def reason_of(done: Any) -> str:
    """Return why the `apply` of a loop has ended; "" if the loop ended normally."""
    try:
        done.result()
    except BaseException as error:  # noqa: BLE001 (any exception is the reason)
        return f"{getattr(error, 'ename', type(error).__name__)}: {getattr(error, 'evalue', error)}"
    return ""


def interrupt(client: Any, uuid: str, facts: Mapping[str, Any]) -> bool:
    """Send an engine SIGINT: directly if it is on this host, otherwise through its controller.

    Args:
        client: the ipyparallel client; None if there is no controller.
        uuid: the engine's identity there.
        facts: its `machine` and `pid`.

    Returns:
        False if its process is gone.
    """
    if client is not None and (os.name == "nt" or not is_here(facts)):  # on Windows, `os.kill` would end it
        client._io_loop.add_callback(_ask, client, uuid.encode())  # noqa: SLF001 (only its thread may use the stream)
        return True
    try:
        os.kill(facts["pid"], signal.SIGINT)
    except OSError:
        return False
    return True


def _ask(client: Any, ident: bytes) -> None:
    client.session.send(client._control_stream, "interrupt_request", content={}, ident=ident)  # noqa: SLF001


ANSWERS_WITHIN = 10.0
"""Seconds for this process to answer the greeting of a loop that reaches it through the controller.

The loop of a client that is gone keeps its engine for as long.
"""

ANSWERS_AT_LAST_WITHIN = 60.0
"""Maximal seconds, after which the controller counts as broken."""


class AnswerTimes:
    """How long loops wait for an answer to their greeting: longer in an engine where one has missed it."""

    def __init__(self) -> None:
        self._missed: Counter[str] = Counter()

    def of(self, uuid: str) -> float:
        """Return seconds for the next loop in an engine."""
        return min(self._seconds(uuid), ANSWERS_AT_LAST_WITHIN)

    def missed(self, uuid: str) -> bool:
        """Note a loop that got no answer; return whether another may get it, given more time."""
        self._missed[uuid] += 1
        return self._seconds(uuid) < ANSWERS_AT_LAST_WITHIN

    def met(self, uuid: str) -> None:
        """Note a loop that got an answer."""
        self._missed.pop(uuid, None)

    def _seconds(self, uuid: str) -> float:
        return float(ANSWERS_WITHIN * 2 ** self._missed[uuid])


def settings_of_loop(
    identity: bytes, *, client: bytes, address: str, answers_within: float, trusted: bool
) -> dict[str, Any]:
    """Return what a loop is told when it starts.

    Args:
        identity: secret name of the loop.
        client: name of the client's socket to the controller.
        address: where streams lead to, if anywhere.
        answers_within: seconds for the client to answer, where nothing tells that it is gone.
        trusted: its engine was started by this process, on this host.
    """
    settings = {
        "python": f"{sys.version_info[0]}.{sys.version_info[1]}",
        "version": __version__,
        "machine": machine(),
        "pid": os.getpid(),
        "born": birth(os.getpid()),
        "answers_within": answers_within,
        "address": address,
        "client": client,
        "identity": identity,
    }
    if trusted:
        settings["authkey"] = bytes(current_process().authkey)
    return settings


LEAVE_WITHIN = 1.0
"""Maximal seconds for released engines to leave."""

MAY_HAVE_BEGUN = 0.3
"""Seconds until a loop greets that began just before it was taken back."""


def any_leaving(engines: Iterable[EngineLoop], taken_back: Mapping[WorkerId, Any], took: float) -> bool:
    """Whether to wait for a released engine, or one that may have begun its loop before it was taken back.

    Args:
        engines: those left.
        taken_back: what `take_back` has returned.
        took: seconds since then.
    """
    return took < LEAVE_WITHIN and any(
        engine.ready or not (taken_back[engine.worker].done() and took > MAY_HAVE_BEGUN)
        for engine in engines
        if engine.ready or engine.worker in taken_back
    )
