"""What a pool's initializer has made, for later functions: globals that it has set, or its value.

Functions of a notebook are sent by value, each with a namespace of its own.  An initializer with
`global model; model = load()` means the namespace that they share in the notebook, so the globals it has
set are copied to every function of that pool made later.
"""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from contextvars import Context, ContextVar
from types import FunctionType
from typing import Any

POOLS = 8
"""Number of pools whose initializers an engine remembers."""

_initial: OrderedDict[bytes, tuple[dict[str, Any], dict[str, Any]]] = OrderedDict()
"""By pool: the initializer's namespace before it ran, and the initializer."""


def remember(pool: bytes, initializer: Any) -> None:
    """Save the namespace of an initializer that is about to run."""
    names = _own_names(initializer)
    if names is not None:
        _initial[pool] = (dict(names), names)
        _initial.move_to_end(pool)
        while len(_initial) > POOLS:
            _initial.popitem(last=False)


def provide(pool: bytes, function: Any) -> None:
    """Copy the globals set by the pool's initializer to a function's namespace."""
    names = _own_names(function)
    if pool not in _initial or names is None:
        return
    before, after = _initial[pool]
    for name, value in list(after.items()):
        if name not in before or before[name] is not value:
            names[name] = value


def initialized() -> Any:
    """Return what the pool's async initializer has made on this worker.

    That is what its `async with` gave, or what the coroutine returned: a client session, for example, that
    all items of the worker share.

    Raises:
        LookupError: there is no async initializer, or this is no item.
    """
    value = _made.get()
    if value is _NOTHING:
        value = getattr(_here, "value", _NOTHING)
    if value is _NOTHING:
        raise LookupError(
            "nothing was made here by an async initializer: give one to the pool "
            "(`nbpar.Pool(initializer=...)`), and call this in an item"
        )
    return value


def make_known(value: Any, context: Context) -> None:
    """Let items find a value: coroutines in the context that they inherit, others in this thread."""
    _here.value = value
    context.run(_made.set, value)


def forget() -> None:
    """Forget the value of this thread."""
    _here.__dict__.pop("value", None)


_NOTHING = object()
_made: ContextVar[Any] = ContextVar("nbpar_initialized", default=_NOTHING)
_here = threading.local()


def _own_names(function: Any) -> dict[str, Any] | None:
    """Return the namespace of a function sent by value; None for functions of modules."""
    function = getattr(function, "func", function)  # a partial
    function = getattr(function, "__func__", function)  # a method
    if not isinstance(function, FunctionType):
        return None
    names = function.__globals__
    module = sys.modules.get(function.__module__ or "")
    return None if names is getattr(module, "__dict__", None) else names
