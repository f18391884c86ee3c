"""Which functions are async, and how many of their items a worker has.

Waiting is not work: an item's seconds are those in which it kept its worker busy.  Its whole time, from
being sent to being answered, decides how many others are sent in advance.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from functools import partial
from typing import Any

from nbpar.core.chunking import Chunker
from nbpar.core.text import function_name
from nbpar.host.ctrl_c import may_be_ctrl_c

CONCURRENCY = 100
"""Items of an async function under way at once on each worker, unless `concurrency=` says otherwise."""

SPARE = 0.3
"""Maximal share of items that wait on a worker for a slot, beyond those under way."""

REFILL = 0.02
"""Seconds within which a free slot gets another item, if that has to be sent first."""

COST = 5e-5
"""Seconds for which an item keeps its worker busy, until that is known."""


class ConcurrentChunker(Chunker):
    """Sends items of an async function one by one, as many as keep the slots of each worker filled.

    Args:
        concurrency: items under way at once on each worker.
    """

    def __init__(self, concurrency: int) -> None:
        super().__init__(1)
        self.concurrency = self.window = concurrency
        self._wait: float | None = None
        """Running estimate of the seconds from sending an item to its answer; None before the first."""

    @property
    def seconds_per_item(self) -> float:
        return COST if self._seconds is None else self._seconds

    @property
    def timed(self) -> bool:
        return True

    def _windowed(self) -> int:
        if self._wait is None:
            return self.concurrency
        rate = self.concurrency / max(self._wait, REFILL / 2)
        return self.concurrency + math.ceil(min(SPARE * self.concurrency, rate * REFILL))

    def learn(self, items: int, seconds: float, *, moved: int = 0, round_trip: float | None = None) -> None:
        if round_trip is not None and items:
            wait = max(round_trip, 0.0)
            self._wait = wait if self._wait is None else self._wait + 0.05 * (wait - self._wait)
        super().learn(items, seconds, moved=moved)


def _is(test: Callable[[object], bool], fn: object) -> bool:
    """Ask `inspect` about a callable, whose own attributes may raise anything."""
    try:
        return test(fn)
    except BaseException as error:
        if may_be_ctrl_c(error):
            raise
        return False


def _innermost(fn: object) -> object:
    """Return the function inside partials."""
    while isinstance(fn, partial):
        fn = fn.func
    return fn


def is_async(fn: object) -> bool:
    """Whether a function's calls return coroutines, as far as that can be seen without a call.

    So for functions written or marked as coroutine functions, partials and methods of these, and objects
    whose `__call__` is one.  A decorator's wrapper counts as what it is itself: it may run the coroutine.
    """
    fn = _innermost(fn)
    if _is(inspect.iscoroutinefunction, fn):
        return True
    if inspect.isroutine(fn) or issubclass(type(fn), type):
        return False
    call = getattr(type(fn), "__call__", None)  # noqa: B004 (not whether it has one)
    return _is(inspect.iscoroutinefunction, call)


def waits_to_begin(initializer: object) -> bool:
    """Whether an initializer is async: a coroutine function, or what makes an async context manager.

    Raises:
        TypeError: it is an asynchronous generator.
    """
    fn = _innermost(initializer)
    if _is(inspect.isasyncgenfunction, fn):
        raise TypeError(
            f"the initializer `{function_name(fn)}` is an asynchronous generator; "
            "decorate it with `contextlib.asynccontextmanager`"
        )
    if issubclass(type(fn), type):
        return hasattr(fn, "__aenter__")
    return is_async(fn) or _is(lambda it: inspect.isasyncgenfunction(getattr(it, "__wrapped__", None)), fn)


def concurrency_of(fn: Callable[..., Any], asked: int | None) -> int:
    """Return how many items of a function are under way at once on each worker; 0 for an ordinary function.

    Raises:
        TypeError: it is an asynchronous generator.
    """
    if _is(inspect.isasyncgenfunction, fn):
        raise TypeError(
            f"`{function_name(fn)}` is an asynchronous generator: it yields values, and an item has one "
            "result; collect them in a list and `return` it"
        )
    if asked is not None:
        return asked
    return CONCURRENCY if is_async(fn) else 0
