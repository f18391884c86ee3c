"""A one-shot completion event: wait for it, await it, or add a callback."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from nbpar.host.error_log import call_safely

if TYPE_CHECKING:
    import asyncio


class Completion:
    """A one-shot event.

    Args:
        name: of the completed operation, for the log.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._here = False
        self._gate = threading.Lock()  # locked until completion; an Event's `wait` can break under Ctrl-C
        self._gate.acquire()
        self._lock = threading.Lock()  # guards the callbacks against completion
        self._callbacks: list[Callable[[], None]] = []

    @property
    def here(self) -> bool:
        """Whether it has happened."""
        return self._here

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for it; return whether it has happened."""
        if not self._here and self._gate.acquire(timeout=-1 if timeout is None else max(timeout, 0.0)):
            self._gate.release()
        return self._here

    def then(self, callback: Callable[[], None], *, by: Callable[[], None] | None = None) -> None:
        """Add a callback for the completion; it is called at once if that has happened.

        Args:
            callback: it must be quick, because it may delay others.
            by: called in its place if it has not happened yet.
        """
        with self._lock:
            if not self._here:
                self._callbacks.append(by or callback)
                return
        callback()

    def set(self) -> Callable[[], None]:
        """Complete; return a function that calls all callbacks, each once."""
        with self._lock:
            if not self._here:
                self._here = True
                self._gate.release()
            callbacks, self._callbacks = self._callbacks, []

        def tell() -> None:
            for callback in callbacks:  # a user's callback must not end the thread shared by all runs
                call_safely(callback, f"a callback of the run {self._name} failed")

        return tell

    def __await__(self) -> Generator[Any, None, None]:
        import asyncio

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
