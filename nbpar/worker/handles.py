"""Learn that nobody holds a channel any more.

The object's own `__del__` would run wherever the last reference goes, and a Ctrl-C that strikes in
it is lost: Python cannot raise there.  A weak reference tells a queue, without a step of Python,
and a thread looks into that.
"""

from __future__ import annotations

import queue
import threading
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nbpar.worker.end import End


class Handle(weakref.ref[Any]):
    """Leads to the object that users hold for an end of a channel, while there is one.

    Its end holds it, and whoever waits for the other side holds an open end.  One that is garbage
    together with its channel, in a circle of objects, tells nothing: then the end was closed.
    """

    __slots__ = ("end",)
    end: End


_gone: queue.SimpleQueue[Handle] = queue.SimpleQueue()
_watcher: threading.Thread | None = None


def handle_of(channel: Any, end: End) -> Handle:
    """Return the handle of a new channel; when nobody holds that any more, its port is told of the end."""
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
    del handle.end  # the two hold each other
    end.port.dropped.append(end)
    end.port.wake()
