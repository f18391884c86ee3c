"""Tell what travels to the workers together with a function, and roughly how large it is.

Nothing is pickled for this: a map that captures gigabytes should say so before it sends them.
"""

from __future__ import annotations

import sys
from collections import deque
from functools import partial
from types import FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any

from nbpar.core.sizes import estimated_bytes
from nbpar.notebook.names import global_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

LARGE = 100_000_000
"""Bytes from which a captured object is worth a word."""


def captured(function: Callable[..., object]) -> dict[str, Any]:
    """The values that travel with a function, by the name under which it uses them.

    These are the names that its code uses, and those used by the functions and classes among
    them that travel too.  What workers can import for themselves is not followed.
    """
    found: dict[str, Any] = {}
    seen: set[int] = set()
    pending: deque[object] = deque([function])
    while pending:
        source = pending.popleft()
        if id(source) in seen or _importable(source):
            continue
        seen.add(id(source))
        for name, value in _uses(source):
            found.setdefault(name, value)
            pending.append(value)
        pending.extend(_parts(source))
    return found


def _uses(source: object) -> Iterator[tuple[str, object]]:
    """The names that a function uses and does not define, with their values."""
    if not isinstance(source, FunctionType):
        return
    code, names = source.__code__, source.__globals__
    yield from ((name, names[name]) for name in sorted(global_names(code)) if name in names)
    for name, cell in zip(code.co_freevars, source.__closure__ or (), strict=True):
        if name not in ("__class__", source.__name__) and _filled(cell):
            yield name, cell.cell_contents
    positional = code.co_varnames[: code.co_argcount]
    defaults = source.__defaults__ or ()
    yield from zip(positional[len(positional) - len(defaults) :], defaults, strict=True)
    yield from (source.__kwdefaults__ or {}).items()


def _filled(cell: Any) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:  # the enclosing function has not assigned it yet
        return False
    return True


def _parts(source: object) -> Iterable[object]:
    """Objects inside a callable whose names count too."""
    if isinstance(source, type):
        members = (getattr(member, "__func__", member) for member in vars(source).values())
        accessors = (part for member in vars(source).values() for part in _accessors(member))
        return [*source.__bases__, *members, *accessors]
    if isinstance(source, MethodType):
        return [source.__func__, type(source.__self__)]
    if isinstance(source, partial):
        return [source.func, *source.args, *source.keywords.values()]
    return []


def _accessors(member: object) -> list[object]:
    return [member.fget, member.fset, member.fdel] if isinstance(member, property) else []


def _importable(source: object) -> bool:
    """Whether a worker gets this by importing its module."""
    if isinstance(source, ModuleType):
        return True
    module = sys.modules.get(getattr(source, "__module__", None) or "__main__")
    if module is None or module.__name__ == "__main__":
        return False
    found: object = module
    for name in getattr(source, "__qualname__", "").split("."):
        found = getattr(found, name, None)
    return found is source


def mentions(values: dict[str, Any]) -> list[str]:
    """One line for each captured value that is large."""
    sizes = {name: estimated_bytes(value) for name, value in values.items()}
    return [f"captured `{name}`: {_amount(size)}, sent once" for name, size in sizes.items() if size >= LARGE]


def _amount(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
