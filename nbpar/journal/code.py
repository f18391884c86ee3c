"""Compare compiled code by its effect, ignoring its position.

A notebook's cell has another file name in every kernel and other line numbers after every edit
above it; neither may make a function different.
"""

from __future__ import annotations

import dis
from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any

from nbpar.core.functions import with_nested

_GLOBAL = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})


def content(code: CodeType) -> tuple[list[Any], list[Any]]:
    """Return plain values that describe the effect of the code, and its constants."""
    plain = [
        code.co_code, code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags,
        getattr(code, "co_exceptiontable", b""), list(code.co_names), list(code.co_varnames),
        list(code.co_freevars), list(code.co_cellvars),
    ]  # fmt: skip
    return plain, [None if _is_line(constant, code) else constant for constant in code.co_consts]


def used_globals(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """Yield the globals looked up by a function, or by one defined in it, by name in a fixed order."""
    names = {
        instruction.argval
        for code in with_nested(function.__code__)
        for instruction in dis.get_instructions(code)
        if instruction.opname in _GLOBAL
    }
    found = function.__globals__
    yield from ((name, found[name]) for name in sorted(names) if name in found)


def used_values(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """Yield the values that a function uses, by the name under which it uses them."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # the enclosing function has not assigned it yet
            continue
    code, defaults = function.__code__, function.__defaults__ or ()
    positional = code.co_varnames[: code.co_argcount]
    yield from zip(positional[len(positional) - len(defaults) :], defaults, strict=True)
    yield from sorted((function.__kwdefaults__ or {}).items())
    yield from used_globals(function)


def _is_line(constant: Any, code: CodeType) -> bool:
    """Whether it is the line number that a class body stores (Python 3.13 and later)."""
    return type(constant) is int and constant == code.co_firstlineno and "__firstlineno__" in code.co_names
