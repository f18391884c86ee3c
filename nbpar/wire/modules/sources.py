"""Compare a module in memory with a possible source."""

from __future__ import annotations

import ast
from types import CodeType, FunctionType
from typing import Any

_MISSING = object()
_FUNCTION = 0x1  # CO_OPTIMIZED: not set for the code of a class body or a module

Codes = dict[str, list[CodeType]]
"""Functions by qualified name; a name may be defined several times."""


def same_functions(names: dict[str, Any], source: bytes) -> bool:
    """Whether every function that a module and a source have in common is equal."""
    codes = _codes_of(source)
    if codes is None:
        return False
    return all(
        code is None or any(_equal(code, other) for other in others)
        for name, others in codes.items()
        for code in [_code_at(names, name)]
    )


def carried_over(names: dict[str, Any], old: bytes, new: bytes) -> bool:
    """Whether a module loaded from `old` has the changes of `new`, as after `%autoreload`.

    True also if no change has an effect.
    """
    before, after = _codes_of(old), _codes_of(new)
    if before is None or after is None:
        return False
    changed = [name for name in after if not _all_equal(before.get(name, []), after[name])]
    has_new = [_has(names, name, after[name]) for name in changed]
    values = _changed_values(old, new)
    has_new += [_is(names.get(name, _MISSING), value) for name, value in values.items()]
    if has_new:
        return any(has_new)
    return _all_equal(_whole(old), _whole(new))


def imports_of(source: bytes, package: str) -> set[str]:
    """Return the modules that a source imports anywhere; relative imports start from `package`."""
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError):
        return set()
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            found.add(module)
            found.update(f"{module}.{alias.name}" for alias in node.names)
    return found


def reload_order(changed: set[str], imports: dict[str, set[str]]) -> list[str]:
    """Return the modules to reload, each before its importers: changed ones, and those that import them.

    `imports` has the imports of each module that may be reloaded.
    """
    stale = set(changed)
    while more := {name for name in imports if name not in stale and imports[name] & stale}:
        stale |= more
    order: list[str] = []

    def visit(name: str, above: tuple[str, ...]) -> None:
        for other in sorted(imports[name] & stale):
            if other not in above:
                visit(other, (*above, name))
        if name not in order:
            order.append(name)

    for name in sorted(stale):
        visit(name, ())
    return order


MOST_WRAPPERS = 100
"""Maximal number of decorators that are unwrapped."""


def _codes_of(source: bytes) -> Codes | None:
    """Return the functions and methods that a source defines; None if it is not valid Python."""
    found: Codes = {}
    try:
        pending = [("", compile(source, "<source>", "exec", dont_inherit=True))]
    except (SyntaxError, ValueError):
        return None
    while pending:
        prefix, code = pending.pop()
        for inner in code.co_consts:
            if isinstance(inner, CodeType) and not inner.co_name.startswith("<"):
                name = prefix + inner.co_name
                if inner.co_flags & _FUNCTION:
                    found.setdefault(name, []).append(inner)
                else:
                    pending.append((f"{name}.", inner))
    return found


def _whole(source: bytes) -> list[CodeType]:
    return [compile(source, "<source>", "exec", dont_inherit=True)]


def _code_at(names: dict[str, Any], qualified: str) -> CodeType | None:
    """Return the code of a module's function; None if there is none, or a decorated one."""
    first, *rest = qualified.split(".")
    value: Any = names.get(first)
    for part in rest:
        value = vars(value).get(part) if isinstance(value, type) else None
    value = getattr(value, "__func__", value)
    for _ in range(MOST_WRAPPERS):  # some objects have every attribute
        if not hasattr(value, "__wrapped__"):
            break
        value = value.__wrapped__
    return value.__code__ if isinstance(value, FunctionType) and value.__qualname__ == qualified else None


def _has(names: dict[str, Any], name: str, codes: list[CodeType]) -> bool:
    code = _code_at(names, name)
    return code is not None and any(_equal(code, other) for other in codes)


def _all_equal(some: list[CodeType], others: list[CodeType]) -> bool:
    return len(some) == len(others) and all(map(_equal, some, others))


def _equal(one: CodeType, other: CodeType) -> bool:
    """Whether two functions have the same code, ignoring positions."""
    return (
        one.co_code == other.co_code
        and one.co_names == other.co_names
        and one.co_varnames == other.co_varnames
        and one.co_freevars == other.co_freevars
        and len(one.co_consts) == len(other.co_consts)
        and all(map(_equal_constants, one.co_consts, other.co_consts))
    )


def _equal_constants(one: Any, other: Any) -> bool:
    if isinstance(one, CodeType) and isinstance(other, CodeType):
        return _equal(one, other)
    return type(one) is type(other) and (one == other or repr(one) == repr(other))


def _changed_values(old: bytes, new: bytes) -> dict[str, Any]:
    """Return the names to which `new` assigns other plain values than `old`."""
    before, after = _values_of(old), _values_of(new)
    return {name: value for name, value in after.items() if not _is(before.get(name, _MISSING), value)}


def _values_of(source: bytes) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            try:
                values[node.targets[0].id] = ast.literal_eval(node.value)
            except (ValueError, TypeError, MemoryError, RecursionError):
                values.pop(node.targets[0].id, None)
    return values


def _is(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)
