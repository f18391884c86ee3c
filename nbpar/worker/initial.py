"""What a pool's initializer has set, for the functions that come after it.

Functions of a notebook travel by value, each with a namespace of its own.  An initializer that
says `global model; model = load()` means the namespace that they share at home, so what it has
set there is handed to every function of that pool which is made later.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from types import FunctionType
from typing import Any

POOLS = 8
"""An engine remembers the initializers of so many pools."""

_initial: OrderedDict[bytes, tuple[dict[str, Any], dict[str, Any]]] = OrderedDict()
"""By pool: the initializer's namespace before it ran, and itself."""


def remember(pool: bytes, initializer: Any) -> None:
    """Note the namespace of an initializer that is about to run."""
    names = _own_names(initializer)
    if names is not None:
        _initial[pool] = (dict(names), names)
        _initial.move_to_end(pool)
        while len(_initial) > POOLS:
            _initial.popitem(last=False)


def provide(pool: bytes, function: Any) -> None:
    """Set in a function's namespace what the pool's initializer has set."""
    names = _own_names(function)
    if pool not in _initial or names is None:
        return
    before, after = _initial[pool]
    for name, value in list(after.items()):
        if name not in before or before[name] is not value:
            names[name] = value


def _own_names(function: Any) -> dict[str, Any] | None:
    """Return the namespace of a function that came by value; None for those of modules."""
    function = getattr(function, "func", function)  # a partial
    function = getattr(function, "__func__", function)  # a method
    if not isinstance(function, FunctionType):
        return None
    names = function.__globals__
    module = sys.modules.get(function.__module__ or "")
    return None if names is getattr(module, "__dict__", None) else names
