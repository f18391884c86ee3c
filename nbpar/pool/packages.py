"""The installed packages that a function certainly imports, with their versions here.

Certain are the modules, functions and classes that it refers to, the imports at the beginning of its
body, and those that the user's own modules make when they are imported.  Imports that a condition or `try`
guards are not: the function may do without them.
"""

from __future__ import annotations

import ast
import dis
import sys
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache, partial
from importlib.util import find_spec
from types import FunctionType, ModuleType
from typing import Any

from nbpar.host.ctrl_c import may_be_ctrl_c
from nbpar.journal.code import used_values
from nbpar.journal.sources import importable
from nbpar.wire.messages import Package
from nbpar.wire.modules.reach import Reach, Wanted
from nbpar.wire.modules.versions import OWN, is_installed

MODULES = 256
"""Number of the user's modules whose imports are remembered."""

_JUMPS = frozenset((*dis.hasjrel, *dis.hasjabs))

_GUARDS = frozenset({"SETUP_FINALLY", "SETUP_WITH"})


def packages_of(function: object, modules: Wanted, reach: Reach) -> tuple[Package, ...]:
    """Return the packages that a function imports, by itself or through the user's `modules`.

    Raises nothing but the user's Ctrl-C: what cannot be inspected is left out.
    """
    try:
        tops = {name.partition(".")[0] for name in _used_by(function, set())}
        with reach.lock:
            for name, _ in modules:
                tops |= _imported_by(reach.versions.running(name))
    except BaseException as error:
        if may_be_ctrl_c(error):
            raise
        return ()
    return tuple(filter(None, map(_package, sorted(tops))))


def _used_by(value: Any, seen: set[int]) -> Iterator[str]:
    """Yield the names of modules that a value needs when it is unpickled or called."""
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, partial):
        for part in (value.func, *value.args, *value.keywords.values()):
            yield from _used_by(part, seen)
    elif isinstance(value, ModuleType):
        yield value.__name__
    elif isinstance(value, (FunctionType, type)) or callable(value):
        if (module := importable(value)) is not None:
            yield module.__name__
        elif isinstance(value, FunctionType):
            yield from _first_imports(value)
            for _, used in used_values(value):
                yield from _used_by(used, seen)
    else:
        yield type(value).__module__


def _first_imports(function: FunctionType) -> Iterator[str]:
    """Yield what a function imports before any branch."""
    code = dis.Bytecode(function)
    guarded: Any = getattr(code, "exception_entries", ())  # Python 3.11 and later; others have `_GUARDS`
    for step in code:
        if step.opcode in _JUMPS or step.opname in _GUARDS:
            return
        if any(entry.start <= step.offset < entry.end for entry in guarded):
            return
        if step.opname == "IMPORT_NAME":
            yield str(step.argval)


@lru_cache(MODULES)
def _imported_by(source: bytes) -> frozenset[str]:
    """Return the top-level names of what a module imports whenever it is imported itself."""
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError):
        return frozenset()
    names: list[str] = []
    for node in body:
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.append(str(node.module))
    return frozenset(name.partition(".")[0] for name in names)


@cache
def _package(name: str) -> Package | None:
    """Return a package by its top-level module; None for modules that no installed package brings."""
    if name in OWN or name in sys.stdlib_module_names:
        return None
    try:
        spec = find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return None
    if spec is None or not any(map(is_installed, _places(spec))):
        return None
    from importlib import metadata

    for distribution in _distributions(name):
        try:
            return Package(name, distribution, metadata.version(distribution))
        except metadata.PackageNotFoundError:
            continue
    return None


def _places(spec: Any) -> Iterable[str]:
    return [spec.origin] if spec.has_location else map(str, spec.submodule_search_locations or ())


def _distributions(name: str) -> Iterator[str]:
    """Yield the distributions that may have brought a module, the likely one first: the rest takes long."""
    yield name
    yield from _all_distributions().get(name, ())


@cache
def _all_distributions() -> Any:
    from importlib import metadata

    return metadata.packages_distributions()
