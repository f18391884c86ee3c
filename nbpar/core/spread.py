"""How one item becomes the arguments of a call."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any


class Spread(str, Enum):
    """The way from an item to the arguments of the function."""

    ONE = "one"
    """`fn(item)`"""

    STAR = "star"
    """`fn(*item)`, or `fn(**item)` when the item is a dict"""

    CALL = "call"
    """`fn(*args, **kwargs)` for an item that is the pair `(args, kwargs)`"""

    BATCH = "batch"
    """`fn([item, item, ...])` for all items of a call, with one value for each"""


def caller(fn: Callable[..., Any], spread: Spread | str) -> Callable[[Any], Any]:
    """Return a function of one item that calls `fn` the given way."""
    if spread in (Spread.ONE, Spread.BATCH):
        return fn
    if spread == Spread.STAR:
        return lambda item: fn(**item) if isinstance(item, dict) else fn(*item)
    return lambda item: fn(*item[0], **item[1])
