"""Call the callbacks of channels, one after another, in one thread."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from nbpar.wire.faults import describe
from nbpar.worker.payload import NOTHING, unpack_value

if TYPE_CHECKING:
    from nbpar.worker.end import End

TURN = 64
"""Items of one channel before others get their turn."""


class Callbacks:
    """The thread begins with the first call and ends when there is nothing to do.

    Args:
        wait: waits until the function it is given returns True, or until that takes too long.
    """

    def __init__(self, wait: Callable[[Callable[[], bool]], object], *, name: str) -> None:
        self._wait = wait
        self._name = name
        self._ends: deque[End] = deque()
        self._waiting: set[End] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def add(self, end: End) -> None:
        """There is something for this end's callback; returns at once."""
        with self._lock:
            if end not in self._waiting:
                self._waiting.add(end)
                self._ends.append(end)
            if self._thread is None:
                self._thread = threading.Thread(target=self._main, name=self._name, daemon=True)
                self._thread.start()

    def _main(self) -> None:
        _here.calling = True
        while True:
            self._wait(lambda: bool(self._ends))
            with self._lock:
                if not self._ends:
                    self._thread = None  # the next call begins another
                    return
                end = self._ends.popleft()
                self._waiting.discard(end)
            if not _serve(end):
                self.add(end)


def _serve(end: End) -> bool:
    """Give an end's callback what there is; False when there is more."""
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
        except BaseException as error:  # noqa: BLE001 (whatever the user's code raises)
            end.close(describe(error))
    return False


def _finish(end: End) -> None:
    """Tell those who wait that the callback has had everything."""
    end.callback = PASSED
    end.port.notify(end)


def _call(end: End, function: Callable[[object], object], marker: object) -> None:
    try:
        function(marker)
    except BaseException as error:  # noqa: BLE001 (likewise)
        end.close(describe(error))


def _nothing(item: object) -> None:
    """Take what comes after the end marker: nothing does."""


PASSED: tuple[Callable[[object], object], object, bool] = (_nothing, None, False)
"""Stands for a callback that has had everything."""


class _Here(threading.local):
    calling = False


_here = _Here()


def in_callback() -> bool:
    """Whether this thread is one that calls callbacks, which cannot wait for them."""
    return _here.calling
