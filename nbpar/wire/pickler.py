"""cloudpickle's pickler, and what it cannot send yet: functions with `functools.lru_cache`.

Such a function travels as the function in it, with an empty cache, unless the other side can
import it.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import cloudpickle


def with_cache(function: Callable[..., Any], maxsize: int | None, typed: bool) -> Callable[..., Any]:
    """Return a function with a cache in front of it."""
    return functools.lru_cache(maxsize, typed)(function)


def _reduce_cached(cached: Any) -> str | tuple[Any, ...]:
    if _importable(cached):
        return str(cached.__qualname__)
    parameters = cached.cache_parameters()
    return with_cache, (cached.__wrapped__, parameters["maxsize"], parameters["typed"])


def _importable(thing: Any) -> bool:
    """Whether something has a name in a module that the other side imports."""
    module = thing.__module__
    sent = cloudpickle.list_registry_pickle_by_value()
    if module in (None, "__main__") or any(f"{module}.".startswith(f"{name}.") for name in sent):
        return False
    found: Any = sys.modules.get(module)
    for name in thing.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is thing


class Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle has no types
    """Pickles what cloudpickle does, and functions with a cache."""

    dispatch_table = cloudpickle.Pickler.dispatch_table.new_child(
        {type(functools.lru_cache(_importable)): _reduce_cached}
    )
