"""What of compiled code decides what it does, and nothing of where it stands.

A notebook's cell has another file name in every kernel and other lines after every edit
above it; neither may make a function another one.
"""

from __future__ import annotations

import dis
from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any

from nbpar.core.nested_code import with_nested

_GLOBAL = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})


def content(code: CodeType) -> tuple[list[Any], list[Any]]:
    """Return plain values that say what the code does, and its constants."""
    plain = [
        code.co_code, code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags,
        getattr(code, "co_exceptiontable", b""), list(code.co_names), list(code.co_varnames),
        list(code.co_freevars), list(code.co_cellvars),
    ]  # fmt: skip
    return plain, [None if _is_line(constant, code) else constant for constant in code.co_consts]


def used_globals(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """Yield the globals that a function, or one defined in it, looks up, by name and in a fixed order."""
    names = {
        instruction.argval
        for code in with_nested(function.__code__)
        for instruction in dis.get_instructions(code)
        if instruction.opname in _GLOBAL
    }
    found = function.__globals__
    yield from ((name, found[name]) for name in sorted(names) if name in found)


def used_values(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """Yield what a function brings along, by the name under which it uses it."""
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
    """Whether it is the line that the body of a class notes of itself (Python 3.13 on)."""
    return type(constant) is int and constant == code.co_firstlineno and "__firstlineno__" in code.co_names
