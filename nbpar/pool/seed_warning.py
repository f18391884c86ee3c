"""Warn that `seed=` cannot make global random generators repeatable on threads.

`random` and NumPy's legacy state are global to the process: each thread's numbers depend
on the order of draws.  Only replacing those modules could change that.
"""

from __future__ import annotations

import dis
import random
import sys
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any

from nbpar.host.frames import warn
from nbpar.journal.code import used_values
from nbpar.journal.sources import importable

_NUMPY_RANDOM = "numpy.random"


def warn_of_shared_generator(function: object, where: str = "on threads, which") -> None:
    """Warn about a function that draws from global generators, with a seed, where items share them."""
    if (used := shared_generator(function)) is not None:
        warn(
            f"seed= makes only nbpar.rng() repeatable {where} share what `{used}` draws from; "
            "take numbers from nbpar.rng(), or use engines",
            UserWarning,
        )


def shared_generator(function: object) -> str | None:
    """Return the name of a global generator that a function draws from; None if there is none.

    Inspects its code and that of the notebook's functions it uses; draws inside libraries go undetected.
    """
    return next(_draws(getattr(function, "__name__", ""), function, set()), None)


def _draws(name: str, value: object, seen: set[int]) -> Iterator[str]:
    """Yield names of global generators that a value is, or uses."""
    if _is_shared(value):
        yield name
    elif isinstance(value, FunctionType) and importable(value) is None and id(value) not in seen:
        seen.add(id(value))
        imported = (step.argval for step in dis.get_instructions(value) if step.opname == "IMPORT_NAME")
        yield from (str(module) for module in imported if module in ("random", _NUMPY_RANDOM))
        for used, what in used_values(value):
            if isinstance(what, ModuleType) and what.__name__ == "numpy":
                yield from (
                    f"{used}.random" for attribute in value.__code__.co_names if attribute == "random"
                )
            yield from _draws(used, what, seen)


def _is_shared(value: object) -> bool:
    """Whether a value is a module with a global generator, or one of its functions."""
    numpy_random: Any = sys.modules.get(_NUMPY_RANDOM)
    if isinstance(value, ModuleType):
        return value in (random, numpy_random)
    states = (getattr(random, "_inst", None), getattr(getattr(numpy_random, "mtrand", None), "_rand", None))
    owner = getattr(value, "__self__", None)
    return owner is not None and any(owner is state for state in states)
