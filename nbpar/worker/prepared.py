"""A function that prepares its worker before the first item."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any

from nbpar.host.ctrl_c import may_be_ctrl_c
from nbpar.worker.signals import Overdue, untimed

KEPT = 64
"""Number of preparations that one thread remembers."""


class PreparedFunction:
    """Calls `prepare()` once on each worker, then `fn`.

    A preparation under a `token` lasts as long as the worker's thread, across
    runs.  If `prepare` raises, every item of the run fails there with its exception.
    """

    def __init__(self, fn: Callable[..., Any], token: str, prepare: Callable[[], Any]) -> None:
        self._fn = fn
        self._token = token
        self._prepare = prepare
        self._here = threading.local()
        self.__name__ = getattr(fn, "__name__", type(fn).__name__)

    def __call__(self, item: Any) -> Any:
        here = self._here.__dict__
        if "error" not in here:
            here["error"] = error = self._prepare_once()
            here["trace"] = None if error is None else error.__traceback__
        if here["error"] is not None:
            raise here["error"].with_traceback(here["trace"])  # otherwise it would grow with every item
        return self._fn(item)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._fn, self._token, self._prepare)

    def _prepare_once(self) -> BaseException | None:
        try:
            kept(self._token, self._prepare)
        except BaseException as error:
            if may_be_ctrl_c(error) or isinstance(error, Overdue):
                raise
            return error  # each item of this worker fails with it
        return None


_threads = threading.local()


def kept(token: str, make: Callable[[], Any]) -> Any:
    """Return what `make()` returned in this thread the first time that this token was asked for.

    It does not count as time of the item that asks.
    """
    made: OrderedDict[str, Any] = _threads.__dict__.setdefault("made", OrderedDict())
    if token not in made:
        with untimed():
            made[token] = make()
        while len(made) > KEPT:
            made.popitem(last=False)
    return made[token]


def with_arguments(fn: Callable[..., Any], arguments: tuple[Any, ...]) -> Callable[..., Any]:
    """Return `fn` with additional arguments after the item."""
    return partial(_called_with, fn, arguments) if arguments else fn


def _called_with(fn: Callable[..., Any], arguments: tuple[Any, ...], item: Any) -> Any:
    return fn(item, *arguments)
