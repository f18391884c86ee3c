"""How an item becomes the arguments of a call."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any


class CallStyle(str, Enum):
    """The conversion of an item to the arguments of the function."""

    ONE = "one"
    """`fn(item)`"""

    STAR = "star"
    """`fn(*item)`, or `fn(**item)` when the item is a dict"""

    CALL = "call"
    """`fn(*args, **kwargs)` for an item that is the pair `(args, kwargs)`"""

    BATCH = "batch"
    """`fn([item, item, ...])` for all items of a call, with one value for each"""


class Lent:
    """A function lent to workers of this process for the duration of a run.

    Workers cache functions for the next call; captured objects must not live that long.
    """

    def __init__(self, fn: Callable[..., Any]) -> None:
        self.fn: Callable[..., Any] | None = fn

    def take_back(self) -> None:
        """Take it back from the workers."""
        self.fn = None


def caller(fn: Callable[..., Any], spread: CallStyle | str) -> Callable[[Any], Any]:
    """Return a function of one item that calls `fn` the given way."""
    if spread in (CallStyle.ONE, CallStyle.BATCH):
        return fn
    if spread == CallStyle.STAR:
        return lambda item: fn(**item) if isinstance(item, dict) else fn(*item)
    return lambda item: fn(*item[0], **item[1])
