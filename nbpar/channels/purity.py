"""Check that a function stands by itself, as execnet asks of what it sends.

Read from the compiled code, so that comprehensions, nested functions and names of their own
are no obstacle.
"""

from __future__ import annotations

import builtins
import dis
import inspect
from collections.abc import Iterator
from types import FunctionType
from typing import Any

from nbpar.core.nested_code import with_nested


def check_pure(function: Any) -> None:
    """Refuse a function that needs anything but its arguments and what it imports itself.

    Raises:
        ValueError: it uses a global name or a variable of an outer function, is a lambda, or its first
            parameter is not called `channel`.
        TypeError: it is no function of Python.
    """
    if not callable(function):
        return  # a text or a module stands by itself
    if not inspect.isfunction(function):
        raise TypeError(f"only a function made by `def` can be pure, was {function!r:.60}")
    name = function.__qualname__
    if function.__name__ == "<lambda>":
        raise ValueError("a lambda cannot be sent as pure code; give it a name with `def`")
    if list(inspect.signature(function).parameters)[:1] != ["channel"]:
        raise ValueError(f"the first parameter of `{name}` must be called `channel`")
    if function.__closure__:
        free = ", ".join(function.__code__.co_freevars)
        raise ValueError(f"`{name}` uses variables of an outer function: {free}; pass them as arguments")
    if used := sorted(set(_globals_of(function))):
        raise ValueError(
            f"`{name}` uses global names: {', '.join(used)}; import or define them inside it, "
            "or leave out `pure=True`"
        )


def _globals_of(function: FunctionType) -> Iterator[str]:
    for code in with_nested(function.__code__):
        own = {
            instruction.argval
            for instruction in dis.get_instructions(code)
            if instruction.opname in ("STORE_GLOBAL", "STORE_NAME")
        }
        for instruction in dis.get_instructions(code):
            if instruction.opname not in ("LOAD_GLOBAL", "LOAD_NAME"):
                continue
            name = instruction.argval
            if name not in own and name != "channel" and not hasattr(builtins, name) and name != "__name__":
                yield name
