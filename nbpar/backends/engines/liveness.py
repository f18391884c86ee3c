"""Which engines answer: pings, and what their silence means.

An engine is *silent* when nothing has been heard of it for a few seconds and nothing else explains that:

- on this host its process is stopped, as by SIGSTOP; one that merely computes in C code, which no ping
  reaches, is not silent;
- elsewhere the echo beside its loop (`worker.heart`), which needs no Python, does not answer either: its
  process is stopped or swapped out, or the network or its host is down.

Time in which this process did not listen, because it was stopped or unpickled a large result, does not count.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from nbpar.backends.engines.engine import EngineLoop
from nbpar.host.machine import is_here

LOOK_EVERY = 0.25
"""Seconds between two looks."""

PING_EVERY = 5.0
"""Seconds between two pings of a worker; a missing message is detected by the next."""

ASK_AFTER = 2.0
"""Seconds without a word after which an engine elsewhere is asked, and between two such questions."""

SILENT_AFTER = 4.5
"""Seconds without an answer after which an engine is silent."""

EXAMINE_EVERY = 1.0
"""Seconds between two looks at the process of an engine on this host that says nothing."""


class Liveness:
    """Looks at the engines of a pool, a few times a second.

    Args:
        ping: pings an engine's loop.
        feel: asks the echo beside it.
    """

    def __init__(self, ping: Callable[[EngineLoop], None], feel: Callable[[EngineLoop], None]) -> None:
        self._ping = ping
        self._feel = feel
        self._looked = 0.0

    def look(self, engines: Collection[EngineLoop], now: float) -> list[EngineLoop]:
        """Ping those that are due; return those that have just become silent."""
        pause = now - self._looked
        if pause < LOOK_EVERY:
            return []
        self._looked = now
        if pause > 4 * LOOK_EVERY:
            for engine in engines:  # this process did not listen
                engine.heard = now
        return [engine for engine in engines if engine.ready and self._has_fallen_silent(engine, now)]

    def _has_fallen_silent(self, engine: EngineLoop, now: float) -> bool:
        quiet = now - max(engine.heard, engine.beaten)
        asks = not engine.local and quiet >= ASK_AFTER and now - engine.pinged >= ASK_AFTER
        if asks or now - engine.pinged >= PING_EVERY:
            engine.pinged = now
            self._ping(engine)
            if asks:
                self._feel(engine)
        if engine.silent or quiet < SILENT_AFTER:
            return False
        engine.silent = not is_here(engine.facts) or self._is_found_stopped(engine, now)
        return engine.silent

    def _is_found_stopped(self, engine: EngineLoop, now: float) -> bool:
        if now - engine.examined < EXAMINE_EVERY:
            return False
        engine.examined = now
        return _is_stopped(engine)


def _is_stopped(engine: EngineLoop) -> bool:
    """Whether the process of an engine on this host is stopped; one in a debugger is not meant."""
    import psutil

    try:
        return bool(psutil.Process(int(engine.facts["pid"])).status() == psutil.STATUS_STOPPED)
    except psutil.Error:  # its end is noticed elsewhere
        return False
