"""The event loop of a worker's coroutines: asyncio's, which also tells how long it was busy.

A module of its own, because only workers that run coroutines import asyncio.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import os
import selectors
import time
from collections.abc import Callable
from typing import Any

_clock = time.perf_counter


class TimedSelector(selectors.DefaultSelector):
    """Records when the loop waits.  A fork of the process ends here: it must not use its parent's loop."""

    def __init__(self) -> None:
        super().__init__()
        self._pid = os.getpid()
        self.woke: float | None = None
        """When the current turn of the loop began; None while it waits."""

        self.busy = 0.0
        """Seconds of all turns before this one."""

        self.lasted = 0.0
        """Seconds of the turn before this one."""

    @property
    def until_now(self) -> float:
        """Seconds of all turns, with this one so far."""
        return self.busy + (0.0 if self.woke is None else _clock() - self.woke)

    def select(self, timeout: float | None = None) -> Any:
        if os.getpid() != self._pid:
            os._exit(0)
        self.pause()
        ready = super().select(timeout)
        self.woke = _clock()
        return ready

    def pause(self) -> None:
        """End a turn."""
        if self.woke is not None:
            self.lasted = _clock() - self.woke
            self.busy += self.lasted
            self.woke = None


class CoroutineLoop(asyncio.SelectorEventLoop):
    """One worker's event loop; it runs only while the worker's thread has nothing else to do."""

    def __init__(self) -> None:
        self.times = TimedSelector()
        super().__init__(self.times)

    def run(self) -> None:
        """Run until `stop`; an exception of the user's code may end it as well."""
        try:
            self.run_forever()
        finally:
            self.times.pause()

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:  # type: ignore[override]
        """Run a function in a thread, with the context of the caller, so that its output has an item."""
        if executor is None or isinstance(executor, concurrent.futures.ThreadPoolExecutor):
            return super().run_in_executor(executor, contextvars.copy_context().run, func, *args)
        return super().run_in_executor(executor, func, *args)
