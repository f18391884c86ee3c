"""Get from a queue with a timeout, in a way that Ctrl-C can interrupt."""

from __future__ import annotations

import queue
import threading
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import TypeVar

SHORTEST = 1e-3
"""Seconds; with a shorter timeout, Python 3.10's `get` may wait for ever."""

_Item = TypeVar("_Item")

_NONE = object()
"""Equal to nothing that stands in a queue."""


def take(items: queue.SimpleQueue[_Item], timeout: float | None) -> _Item:
    """Return the next item; wait up to `timeout` seconds for it, or without limit.

    Raises:
        queue.Empty: no item arrived.
    """
    if timeout is None:
        return items.get()
    if timeout <= SHORTEST:
        return items.get_nowait()
    return items.get(timeout=min(timeout, threading.TIMEOUT_MAX))


def move(items: queue.SimpleQueue[_Item], to: list[_Item], timeout: float) -> None:
    """Move the next item to the end of a list, if one comes within `timeout` seconds.

    The interpreter raises what another thread throws into this one between two steps of Python. This is one
    step, so the item is in the queue or in the list at any time.
    """
    if timeout <= SHORTEST:
        get = items.get_nowait
    else:
        get = partial(items.get, True, min(timeout, threading.TIMEOUT_MAX))
    with suppress(queue.Empty):
        to.extend(islice(iter(get, _NONE), 1))
