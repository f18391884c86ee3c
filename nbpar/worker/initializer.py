"""Globals that a pool's initializer has set, for later functions.

Functions of a notebook are sent by value, each with a namespace of its own.  An initializer with
`global model; model = load()` means the namespace that they share in the notebook, so the globals it has
set are copied to every function of that pool made later.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
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


def _own_names(function: Any) -> dict[str, Any] | None:
    """Return the namespace of a function sent by value; None for functions of modules."""
    function = getattr(function, "func", function)  # a partial
    function = getattr(function, "__func__", function)  # a method
    if not isinstance(function, FunctionType):
        return None
    names = function.__globals__
    module = sys.modules.get(function.__module__ or "")
    return None if names is getattr(module, "__dict__", None) else names
