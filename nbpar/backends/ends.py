"""What is known of engines that are going: why, and whether a new loop may begin there."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from nbpar.backends.base import WorkerId

REASON_WAIT = 0.5
"""Seconds that an engine's end waits for a better reason, or for a good-bye on its way."""

CUT = "its connection was cut"
"""The reason that any other is better than: most often it is the process that has ended."""


@dataclass(frozen=True)
class End:
    """An engine whose loop has ended, or that cannot be reached any more."""

    worker: WorkerId
    uuid: str
    until: float
    """So long a reason is waited for."""

    reason: str
    lives: bool
    """Whether a new loop may begin there."""


class Ends:
    """Those that are going, and those that will not be used again."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.unfit: set[str] = set()
        """Engines in which no loop begins any more, though their cluster may still list them."""

        self._clock = clock
        self._going: dict[WorkerId, End] = {}
        self._reasons: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._going)

    def begin(self, worker: WorkerId, uuid: str, reason: str, *, wait: bool, lives: bool = False) -> None:
        """An engine is going; of several reasons the last one counts."""
        before = self._going.get(worker)
        if before is None:
            until = self._clock() + (REASON_WAIT if wait else 0.0)
            self._going[worker] = End(worker, uuid, until, reason, lives)
        elif reason != CUT:
            self._going[worker] = replace(before, reason=reason, lives=lives)

    def note(self, uuid: str, reason: str, *, surely: bool = False) -> None:
        """Take in why an engine has died; safe from any thread.  `surely`: whatever else is said."""
        if surely:
            self._reasons[uuid] = reason
        else:
            self._reasons.setdefault(uuid, reason)

    def due(self) -> list[End]:
        """Return, and forget, those whose reason is known or has been waited for."""
        now, due = self._clock(), []
        for end in list(self._going.values()):
            known = self._reasons.get(end.uuid)
            if known is not None or now >= end.until:
                del self._going[end.worker]
                due.append(end if known is None else replace(end, reason=known, lives=False))
        return due

    def forget(self, worker: WorkerId) -> None:
        """It has said good-bye."""
        self._going.pop(worker, None)


def reason_of(done: Any) -> str:
    """Say why the `apply` of a loop has ended; "" when that was the loop's own will."""
    try:
        done.result()
    except Exception as error:  # noqa: BLE001 (whatever ended it is the reason)
        return f"{getattr(error, 'ename', type(error).__name__)}: {getattr(error, 'evalue', error)}"
    return ""
