"""Warn when a function changes captured objects, because the changes stay on the workers.

    out = []
    nbpar.map(lambda n: out.append(n), range(5))      # out is still empty

Each worker has a copy of the captured objects, so such changes are lost silently.
"""

from __future__ import annotations

import re
import warnings
from array import array
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from inspect import unwrap
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from nbpar.core.functions import with_nested
from nbpar.errors import LostChangeWarning
from nbpar.host.shell import this_shell
from nbpar.journal.sources import importable, own_modules
from nbpar.pool.changes import (
    ATTRIBUTE,
    DELETE,
    ELEMENT,
    METHOD,
    REBIND,
    STORE,
    Change,
    Findings,
    Label,
    findings_in,
)
from nbpar.wire.shared import Shared

NAMED = 3
"""Maximal number of changes that the warning names."""

_METHODS: tuple[tuple[type | tuple[type, ...], frozenset[str]], ...] = tuple(
    (kinds, frozenset(names.split()))
    for kinds, names in (
        ((list, array, bytearray), "append extend insert pop remove clear sort reverse"),
        (dict, "update setdefault pop popitem clear subtract move_to_end"),
        (set, "add update discard remove pop clear difference_update symmetric_difference_update"),
        (deque, "append appendleft extend extendleft insert pop popleft remove rotate clear reverse"),
    )
)  # fmt: skip
_OF_TABLES = frozenset(("insert", "pop", "update"))
_OF_ARRAYS = frozenset(("fill", "sort", "put", "resize", "partition"))
_PLACES = frozenset(("loc", "iloc", "at", "iat", "values"))
"""Attributes that give access to a table's cells."""

ITEM = "item"
"""Scope of objects that belong to an item."""

_UNKNOWN = object()


def warn_of_lost_changes(
    function: Any, *, items: object = None, starting: Mapping[str, Any] | None = None, shared: bool = False
) -> None:
    """Warn, once per cell, about changes by a function that stay on the workers.

    Args:
        function: the mapped function.
        items: the input, if its items are copies too.
        starting: names that are reset for each item, with their initial values.
        shared: the workers are in this process and share its objects.
    """
    try:
        lost = list(_lost(function, dict(starting or {}), items, shared=shared))
    except Exception:  # noqa: BLE001 (inspecting the user's objects may run user code)
        return
    if lost and _first_time(lost[0][0].__code__):
        sentence = _sentence([change for _, change in lost])
        warnings.warn_explicit(sentence, LostChangeWarning, *_place(*lost[0]))


def _sentence(changes: list[Change]) -> str:
    ways = list(dict.fromkeys(f"`{change}`" for change in changes))
    names = list(dict.fromkeys(f"`{change.label.name}`" for change in changes))
    more = [f"{len(ways) - NAMED} more"] if len(ways) > NAMED else []
    if all(change.label.scope == ITEM for change in changes):
        copies, names = "copies of the items", ["the items"]
    else:
        copies = "a copy" if len(names) == 1 else "copies"
    stay = "stays as it is" if len(names) == 1 and names != ["the items"] else "stay as they are"
    change = "changes" if len(ways) == 1 else "change"
    return (
        f"{_and([*ways[:NAMED], *more])} {change} {copies}, and {_and(names[:NAMED])} here {stay}: "
        "let each item return its value, and collect the results"
    )


def _and(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


# ---- lost changes


def _lost(
    function: Any, starting: dict[str, Any], items: object, *, shared: bool
) -> Iterator[tuple[FunctionType, Change]]:
    """Yield the lost changes, each with the function that makes it."""
    outermost, owner = _plain(function)
    pending, seen = [outermost], set()
    while pending:
        one = pending.pop(0)
        if not isinstance(one, FunctionType) or id(one) in seen or not _is_the_users(one):
            continue
        seen.add(id(one))
        found = _findings(one.__code__)
        mine = (owner, starting) if one is outermost else (None, {})
        yield from ((one, change) for change in _in_captured(one, found, *mine, shared=shared))
        if one is outermost and not shared:
            yield from ((one, change) for change in _in_items(one, owner, found, items))
        pending += _helpers(one)


def _plain(function: Any) -> tuple[Any, Any]:
    """Return the function inside partials and decorators, and the object that it is bound to, if any."""
    while isinstance(function, partial):
        function = function.func
    if isinstance(function, MethodType):
        return function.__func__, function.__self__
    try:
        return unwrap(function), None
    except Exception:  # noqa: BLE001 (any object may be called; `__wrapped__` may be anything)
        return None, None


def _is_the_users(function: FunctionType) -> bool:
    """Whether a function is from the notebook, or from a module beside it."""
    module = importable(function)
    return module is None or bool(own_modules(module))


def _helpers(function: FunctionType) -> Iterator[FunctionType]:
    """Yield functions of the notebook that a function uses."""
    names = function.__globals__
    used = [names.get(name) for part in with_nested(function.__code__) for name in part.co_names]
    for value in [*used, *_cells(function).values()]:
        if isinstance(value, FunctionType) and importable(value) is None:
            yield value


_known: WeakKeyDictionary[CodeType, Findings] = WeakKeyDictionary()


def _findings(code: CodeType) -> Findings:
    if (found := _known.get(code)) is None:
        found = _known[code] = findings_in(code)
    return found


# ---- recognizing changes


def _captured(label: Label, function: FunctionType, owner: Any, starting: dict[str, Any]) -> Any:
    """Return the value of a variable that is sent with a function; None for other variables."""
    code = function.__code__
    if label.scope == "global":
        return function.__globals__.get(label.name)
    if label.scope == "free":
        return _cells(function).get(label.name)
    if owner is not None and code.co_argcount and label.name == code.co_varnames[0]:
        return owner if type(owner).__module__ == "__main__" else None
    return starting.get(label.name)


def _cells(function: FunctionType) -> dict[str, Any]:
    filled = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            filled[name] = cell.cell_contents
        except ValueError:  # the enclosing function has not assigned it yet
            continue
    return filled


def _in_captured(
    function: FunctionType, found: Findings, owner: Any, starting: dict[str, Any], *, shared: bool
) -> list[Change]:
    """Return the changes of variables that are sent with a function, except those of caches."""
    lost = []
    for change in found.changes:
        root = _captured(change.label, function, owner, starting)
        if root is not None and _is_lost(change, found, root, starting, shared=shared):
            lost.append(change)
    caches = {change.label.name for change in lost if _is_cache(change.label.name, lost, found)}
    return [change for change in lost if change.label.name not in caches]


def _is_lost(change: Change, found: Findings, root: Any, starting: dict[str, Any], *, shared: bool) -> bool:
    label = change.label
    if change.kind == REBIND:
        own = label.scope == "local"
        return (not own and not shared) or (label.name in starting and not _is_container(root))
    if shared or isinstance(root, (ModuleType, type)):
        return False
    return _changes(change, _follow(root, label.path), found)


def _changes(change: Change, target: Any, found: Findings) -> bool:
    """Whether a value has a type that this change applies to."""
    if target is _UNKNOWN:
        return False
    if change.kind == METHOD:
        return _is_changing(target, change.detail)
    if change.kind == ATTRIBUTE:
        return change.updates and hasattr(target, "__dict__")
    if _is_numpy(target):
        return change.kind == STORE and not _is_read(change.label.name, found)
    return change.kind in (STORE, DELETE) and (_is_container(target) or _is_table(target))


def _is_changing(target: Any, method: str) -> bool:
    if _is_table(target):
        return method in _OF_TABLES
    if _is_numpy(target):
        return method in _OF_ARRAYS
    return any(isinstance(target, kinds) and method in names for kinds, names in _METHODS)


def _is_read(name: str, found: Findings) -> bool:
    """Whether an array is read as well as written, and so more than a buffer for intermediate results."""
    methods = {method for holder, method in found.methods if holder == name}
    return name in found.used | found.read or not methods <= _OF_ARRAYS


def _is_container(value: Any) -> bool:
    return isinstance(value, (list, dict, set, deque, bytearray, array))


def _is_table(value: Any) -> bool:
    return type(value).__name__ in ("DataFrame", "Series") and type(value).__module__.startswith("pandas")


def _is_numpy(value: Any) -> bool:
    return type(value).__module__ == "numpy" and type(value).__name__ == "ndarray"


def _is_cache(name: str, lost: list[Change], found: Findings) -> bool:
    """Whether a dict is a cache, one per worker.

    A cache is queried before an entry is stored, and entries are read; a counter is also updated.
    """
    words = name.lower()
    if "cache" in words or "memo" in words:
        return True
    mine = [change for change in lost if change.label.name == name]
    stored = all(change.kind == STORE and not (change.updates or change.label.path) for change in mine)
    gets = (name, "get") in found.methods
    return stored and (gets or name in found.looked_up) and (gets or name in found.read)


def _follow(value: Any, path: Iterable[str]) -> Any:
    """Return the object at the end of an attribute path, without running user code."""
    for step in path:
        if _is_table(value) and step in _PLACES:
            continue
        value = _element_of(value) if step == ELEMENT else _attribute_of(value, step)
    return value


def _attribute_of(value: Any, name: str) -> Any:
    if isinstance(value, Shared):
        return _UNKNOWN  # workers cannot write to it, and raise an error
    try:
        return object.__getattribute__(value, "__dict__").get(name, _UNKNOWN)
    except AttributeError:
        return _UNKNOWN


def _element_of(value: Any) -> Any:
    """Return any element as a representative of all; for a defaultdict, a default one."""
    if isinstance(value, dict):
        made = getattr(value, "default_factory", None)
        empty = made() if made in (list, set, dict) else _UNKNOWN
        return next(iter(value.values()), empty)
    return value[0] if isinstance(value, list) and value else _UNKNOWN


def _in_items(function: FunctionType, owner: Any, found: Findings, items: object) -> Iterator[Change]:
    """Yield changes of the items themselves by a function that returns nothing."""
    code = function.__code__
    place = 0 if owner is None else 1
    if found.returns or code.co_argcount <= place or not isinstance(items, (list, tuple)) or not items:
        return
    for change in found.changes:
        label = change.label
        if label.scope != "local" or label.name != code.co_varnames[place] or change.kind == REBIND:
            continue
        target = _follow(items[0], label.path)
        if _is_container(target) and _changes(change, target, found):
            yield replace(change, label=label._replace(scope=ITEM))


# ---- the warning

_said: set[tuple[CodeType, object]] = set()
"""Functions with a warning already, each with the run of a cell."""

_CELL = re.compile(r"<ipython-input-|[/\\]ipykernel_\d+[/\\]")


def _first_time(code: CodeType) -> bool:
    """Whether there was no warning about this code yet in this run of a cell, or in this script."""
    cell = _cell()
    first = (code, cell) not in _said
    _said.difference_update([said for said in _said if said[1] != cell])
    _said.add((code, cell))
    return first


def _cell() -> object:
    """Return an identifier of the current run of a cell; None in scripts.

    Cells run without history, as in notebook tests, all have the same number.
    """
    shell = this_shell()
    parent: Any = getattr(getattr(shell, "kernel", None), "get_parent", dict)()
    return parent.get("header", {}).get("msg_id") or getattr(shell, "execution_count", None)


def _place(function: FunctionType, change: Change) -> tuple[str, int]:
    """Return the file and line of a change; for a notebook's cell no number, which tests would compare."""
    name = function.__code__.co_filename
    name_of = getattr(getattr(this_shell(), "compile", None), "format_code_name", None)
    in_cell = _CELL.search(name) or (callable(name_of) and name_of(name))
    return "cell" if in_cell else name, change.line
