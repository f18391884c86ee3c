"""List the objects sent to the workers with a function, with approximate sizes.

Nothing is pickled for this: the warning about captured gigabytes comes before they are sent.
"""

from __future__ import annotations

import dis
import sys
from collections import deque
from functools import partial
from types import FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any

from nbpar.core.functions import with_nested
from nbpar.core.sizes import estimated_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import CodeType

_READS = frozenset({"LOAD_GLOBAL"})
_WRITES = frozenset({"STORE_GLOBAL", "DELETE_GLOBAL"})
# The body of a class, which looks up names in the class first and then in the globals.
_CLASS_READS = frozenset({"LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})


def global_names(code: CodeType) -> set[str]:
    """Names that the code, or functions defined in it, read or assign in their globals.

    These are the names that cloudpickle ships with a function.
    """
    return _names(code, _READS | _WRITES)


def assigned_globals(code: CodeType) -> set[str]:
    """Names that the code declares `global` and assigns or deletes."""
    return _names(code, _WRITES)


def class_names(code: CodeType) -> set[str]:
    """Names that the bodies of classes in the code read, from the class or from the globals.

    cloudpickle does not send these.
    """
    return _names(code, _CLASS_READS) - {"__name__"}


def _names(code: CodeType, operations: frozenset[str]) -> set[str]:
    return {
        instruction.argval
        for part in with_nested(code)
        for instruction in dis.get_instructions(part)
        if instruction.opname in operations
    }


LARGE = 100_000_000
"""Size in bytes from which a captured object is mentioned."""


def captured(function: Callable[..., object]) -> dict[str, Any]:
    """The values sent with a function, by the name under which it uses them.

    These are the names that its code uses, and those used by the functions and classes among
    them that are sent too.  Importable modules and their contents are not followed.
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
    """Whether a worker gets this by an import."""
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
    """One line for each large captured value."""
    sizes = {name: estimated_bytes(value) for name, value in values.items()}
    return [f"captured `{name}`: {_amount(size)}, sent once" for name, size in sizes.items() if size >= LARGE]


def _amount(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
