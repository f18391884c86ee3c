"""A thread that calls the callbacks of channels, one after another."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from nbpar.endpoint.end import PASSED, begin_callbacks
from nbpar.endpoint.payload import NOTHING, unpack_value
from nbpar.wire.faults import describe

if TYPE_CHECKING:
    from nbpar.endpoint.end import End

TURN = 64
"""Items of one channel before others get their turn."""


class Callbacks:
    """The thread starts with the first item and ends when it has been idle.

    Args:
        wait: waits until a given function returns True, or a timeout.
    """

    def __init__(self, wait: Callable[[Callable[[], bool]], object], *, name: str) -> None:
        self._wait = wait
        self._name = name
        self._ends: deque[End] = deque()
        self._waiting: set[End] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def add(self, end: End) -> None:
        """Schedule this end's callback; returns at once."""
        with self._lock:
            if end not in self._waiting:
                self._waiting.add(end)
                self._ends.append(end)
            if self._thread is None:
                self._thread = threading.Thread(target=self._main, name=self._name, daemon=True)
                self._thread.start()

    def _main(self) -> None:
        begin_callbacks()
        over = False
        try:
            while not over:
                over = self._serve_next()
        finally:
            if (
                not over
            ):  # an exception was raised into this thread from outside: the next call starts another
                self._thread = None

    def _serve_next(self) -> bool:
        """Call the callback of the next end; return whether there was none for too long."""
        self._wait(lambda: bool(self._ends))
        with self._lock:
            if not self._ends:
                self._thread = None  # the next call starts another
                return True
            end = self._ends.popleft()
            self._waiting.discard(end)
        if not _serve(end):
            self.add(end)
        return False


def _serve(end: End) -> bool:
    """Call an end's callback with its items; False if there are more."""
    end.show()
    if end.callback is None:
        return True
    function, marker, marked = end.callback
    for _ in range(TURN):
        item, ended = end.next_for_callback()
        if item is NOTHING:
            if ended and end.callback is not PASSED:
                if marked:
                    _call(end, function, marker)
                _finish(end)
            return True
        try:
            function(unpack_value(item, end.port))
        except BaseException as error:  # noqa: BLE001 (user code may raise anything)
            end.close(describe(error))
    return False


def _finish(end: End) -> None:
    """Notify waiting threads that the callback has been called for everything."""
    end.callback = PASSED
    end.port.notify(end)


def _call(end: End, function: Callable[[object], object], marker: object) -> None:
    try:
        function(marker)
    except BaseException as error:  # noqa: BLE001 (likewise)
        end.close(describe(error))
