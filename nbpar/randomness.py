"""Say that a seed cannot govern what threads share.

`random` and NumPy's legacy state belong to the whole process: which thread draws next decides
what each gets.  Nothing short of replacing those modules for everybody would change that.
"""

from __future__ import annotations

import dis
import random
import sys
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any

from nbpar.journal.code import used_values
from nbpar.journal.saying import warn
from nbpar.journal.sources import importable

_NUMPY_RANDOM = "numpy.random"


def warn_of_shared_generator(function: object) -> None:
    """Warn of a function that draws, with a seed and on threads, from what they share."""
    if (used := shared_generator(function)) is not None:
        warn(
            f"seed= makes only nbpar.rng() repeatable on threads, which share what `{used}` draws from; "
            "take numbers from nbpar.rng(), or use engines",
            UserWarning,
        )


def shared_generator(function: object) -> str | None:
    """Return under which name a function draws from a generator that all threads share; None: it does not.

    Looks at its code and at that of the notebook's functions it uses; a library may draw unseen.
    """
    return next(_draws(getattr(function, "__name__", ""), function, set()), None)


def _draws(name: str, value: object, seen: set[int]) -> Iterator[str]:
    """Yield names of shared generators that a value is, or uses."""
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
    """Whether it is a module whose functions share a state, or one of these functions."""
    numpy_random: Any = sys.modules.get(_NUMPY_RANDOM)
    if isinstance(value, ModuleType):
        return value in (random, numpy_random)
    states = (getattr(random, "_inst", None), getattr(getattr(numpy_random, "mtrand", None), "_rand", None))
    owner = getattr(value, "__self__", None)
    return owner is not None and any(owner is state for state in states)
