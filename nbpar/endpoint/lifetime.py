"""Close channels whose objects have been garbage-collected.

A `__del__` of the object would run wherever the last reference is dropped, and a Ctrl-C during
it is lost: Python cannot raise there.  A weak reference's callback puts it into a queue, without Python code,
and a thread reads that.
"""

from __future__ import annotations

import queue
import threading
import weakref
from collections import OrderedDict, deque
from contextlib import suppress
from typing import Any

from nbpar.endpoint.end import End


class Handle(weakref.ref[Any]):
    """A weak reference to the user's object of an end of a channel.

    The end holds it, and waiting threads hold an open end.  If it becomes garbage
    together with its channel, in a reference cycle, there is no callback: then the end was closed.
    """

    __slots__ = ("end",)
    end: End


_gone: queue.SimpleQueue[Handle] = queue.SimpleQueue()
_watcher: threading.Thread | None = None


def handle_of(channel: Any, end: End) -> Handle:
    """Return the handle of a new channel; when that is deleted, its port is notified."""
    global _watcher  # noqa: PLW0603 (there is one for the process; two would do no harm)
    if _watcher is None or not _watcher.is_alive():  # a fork has none
        _watcher = threading.Thread(target=_watch, name="nbpar dropped channels", daemon=True)
        _watcher.start()
    handle = Handle(channel, _gone.put)
    handle.end = end
    return handle


def _watch() -> None:
    while True:
        _tell(_gone.get())


def _tell(handle: Handle) -> None:
    end = handle.end
    del handle.end  # the two refer to each other
    end.port.dropped.append(end)
    end.port.wake()


def drop_all(dropped: deque[End]) -> None:
    """Close unreferenced ends; thread-safe."""
    while dropped:
        with suppress(IndexError):
            end = dropped.popleft()
            if end.handle is None or end.handle() is None:
                end.drop()


MOST = 1024
"""Maximal number of ends kept; the oldest are dropped, since the items with them may never be received."""


class Unclaimed:
    """Finished ends of one port with items that have not been claimed."""

    def __init__(self) -> None:
        self._ends: OrderedDict[int, End] = OrderedDict()
        self._claimed: weakref.WeakValueDictionary[int, End] = weakref.WeakValueDictionary()
        """A channel may occur twice in a message."""

    def keep(self, end: End) -> None:
        """Keep a finished end, if its channel has never been received and it holds items."""
        if end.handle is None and end.has_something:
            self._ends[end.number] = end
            while len(self._ends) > MOST:
                self._ends.popitem(last=False)

    def claim(self, number: int) -> End | None:
        """Return the end of a channel that has just been received."""
        end = self._ends.pop(number, None)
        if end is None:
            return self._claimed.get(number)
        self._claimed[number] = end
        return end
