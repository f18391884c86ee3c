"""Who wants to know when engines come and go; each death is told once."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

DeathListener = Callable[[str, str], None]
JoinListener = Callable[[str], None]


class Listeners:
    """Fan out deaths and arrivals; usable from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._deaths: list[DeathListener] = []
        self._joins: list[JoinListener] = []
        self._present: set[str] = set()
        self._explained: dict[str, str] = {}

    def add_death(self, listener: DeathListener) -> Callable[[], None]:
        """Add a listener of deaths; returns how to remove it."""
        return self._add(self._deaths, listener)

    def add_join(self, listener: JoinListener) -> Callable[[], None]:
        """Add a listener of arrivals; returns how to remove it."""
        return self._add(self._joins, listener)

    def explain(self, uuids: Sequence[str], reason: str) -> None:
        """Say beforehand why engines are about to go."""
        with self._lock:
            self._explained.update(dict.fromkeys(uuids, reason))

    def joined(self, uuid: str) -> None:
        """An engine can be used."""
        with self._lock:
            self._present.add(uuid)
            listeners = list(self._joins)
        for listener in listeners:
            _call(listener, uuid)

    def died(self, uuid: str, reason: str) -> None:
        """An engine's process is gone; told once for each engine that had joined."""
        with self._lock:
            if uuid not in self._present:
                return
            self._present.discard(uuid)
            reason = self._explained.pop(uuid, reason)
            listeners = list(self._deaths)
        for listener in listeners:
            _call(listener, uuid, reason)

    def _add(self, listeners: list[Callable[..., None]], listener: Callable[..., None]) -> Callable[[], None]:
        with self._lock:
            listeners.append(listener)

        def remove() -> None:
            with self._lock:
                if listener in listeners:
                    listeners.remove(listener)

        return remove


def _call(listener: Callable[..., None], *arguments: str) -> None:
    try:
        listener(*arguments)
    except Exception:  # the caller is a thread that others depend on
        logging.getLogger(__name__).exception("a listener failed")
