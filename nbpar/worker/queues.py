"""Take from a queue that any thread may fill."""

from __future__ import annotations

import queue
import threading
from typing import TypeVar

SHORTEST = 1e-3
"""Seconds; with a timeout of next to nothing, Python 3.10's `get` may wait for ever."""

_Item = TypeVar("_Item")


def take(items: queue.SimpleQueue[_Item], timeout: float | None) -> _Item:
    """Return the next item; wait up to `timeout` seconds for it, or for ever.

    Raises:
        queue.Empty: nothing came.
    """
    if timeout is None:
        return items.get()
    if timeout <= SHORTEST:
        return items.get_nowait()
    return items.get(timeout=min(timeout, threading.TIMEOUT_MAX))
