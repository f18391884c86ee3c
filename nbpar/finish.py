"""The end of something that goes on elsewhere: waited for, awaited, or told of."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Generator
from typing import Any


class Finish:
    """Comes once.

    Args:
        name: what is over then, for the log.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._here = False
        self._gate = threading.Lock()  # closed until it comes; an Event's `wait` can break under Ctrl-C
        self._gate.acquire()
        self._lock = threading.Lock()  # guards the callbacks against the end
        self._callbacks: list[Callable[[], None]] = []

    @property
    def here(self) -> bool:
        """Whether it has come."""
        return self._here

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for it; whether it has come."""
        if not self._here and self._gate.acquire(timeout=-1 if timeout is None else max(timeout, 0.0)):
            self._gate.release()
        return self._here

    def then(self, callback: Callable[[], None], *, by: Callable[[], None] | None = None) -> None:
        """Have a function called when it comes; at once if it has.

        Args:
            callback: it must be quick: it may hold up others.
            by: what to call in its place if it has not come yet.
        """
        with self._lock:
            if not self._here:
                self._callbacks.append(by or callback)
                return
        callback()

    def set(self) -> Callable[[], None]:
        """Let it come; returns what tells everybody who asked to be told, each of them once."""
        with self._lock:
            if not self._here:
                self._here = True
                self._gate.release()
            callbacks, self._callbacks = self._callbacks, []

        def tell() -> None:
            for callback in callbacks:
                try:
                    callback()
                except Exception:  # it is the user's, and must not end the thread that all runs share
                    logging.getLogger("nbpar").exception("a callback of the run %s failed", self._name)

        return tell

    def __await__(self) -> Generator[Any, None, None]:
        loop = asyncio.get_running_loop()
        over: asyncio.Future[None] = loop.create_future()

        def end() -> None:
            if not over.done():
                over.set_result(None)

        self.then(lambda: _call_soon(loop, end))
        yield from over


def _call_soon(loop: asyncio.AbstractEventLoop, end: Callable[[], None]) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(end)
