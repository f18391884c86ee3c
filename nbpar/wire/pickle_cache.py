"""Reuse the pickle of a function that is sent again, while all that it depends on is identical.

cloudpickle takes about 80 us for a function of a notebook, which is most of what it costs to submit a call.
Only functions are kept that depend on nothing that can change unseen: their code, and closure cells,
defaults and globals that hold numbers, strings, modules, what can be imported, or functions of which the
same is true.  Those are compared by identity each time.  A list or an object of a class is none of these.
A worker that needs a function anew for each call saves unpickling it in the same way.
"""

from __future__ import annotations

import sys
import weakref
from abc import ABCMeta
from collections.abc import Callable
from operator import is_
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any, Generic, NamedTuple, TypeVar

import cloudpickle

from nbpar.host.ctrl_c import may_be_ctrl_c
from nbpar.wire.pickling import importable

MOST = 8
"""Functions whose pickles are kept."""

LARGEST = 1 << 16
"""Bytes of the largest pickle that is kept."""

DEEPEST = 8
"""Functions that are followed from one to the next."""

_SETTLED = frozenset({type(None), bool, int, float, complex, str, bytes, type(...)})

_GLOBALS_ALWAYS_SENT = ("__package__", "__name__", "__path__", "__file__")

_ABSENT = object()

T = TypeVar("T")


class State(NamedTuple):
    """All that a function's pickle depends on, as it was at one moment."""

    equal: tuple[Any, ...]
    """Numbers and names, to be compared by value."""

    same: list[Any]
    """Objects, to be compared by identity."""

    def is_like(self, other: State | None) -> bool:
        """Whether nothing has changed."""
        return (
            other is not None
            and self.equal == other.equal
            and len(self.same) == len(other.same)
            and all(map(is_, self.same, other.same))
        )


class Kept(Generic[T]):
    """What was made of some functions lately; safe from any thread."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[weakref.ref[Any], State, T]] = {}

    def made(self, function: Any, make: Callable[[], T], size: Callable[[T], int]) -> T:
        """Return what `make` made of a function when everything was as it is now; else have it made.

        Raises:
            Exception: what `make` raises.
        """
        state = state_of(function)
        if state is None:
            return make()
        known = self._known.get(id(function))
        if known is not None and known[0]() is function and state.is_like(known[1]):
            return known[2]
        new = make()
        self._known.pop(id(function), None)
        # pickling may run the user's code
        if size(new) <= LARGEST and state.is_like(state_of(function)):
            self._known[id(function)] = (weakref.ref(function), state, new)
            while len(self._known) > MOST:
                self._known.pop(next(iter(self._known)), None)
        return new


def state_of(function: Any) -> State | None:
    """Return all that a function's pickle depends on; None where some of it may change unseen."""
    if type(function) is not FunctionType:
        return None
    try:
        by_name, sent = importable(function), cloudpickle.list_registry_pickle_by_value()
        values: list[Any] = []
        cycles: list[int] = []
        if not (by_name or _add(function, values, cycles, {id(function)}, 0)):
            return None
    except BaseException as error:  # a module's `__getattr__` may raise anything
        if may_be_ctrl_c(error):
            raise
        return None
    # with packages come their submodules that are imported by now
    modules = len(sys.modules), next(reversed(sys.modules))
    return State((*modules, by_name, *sorted(sent), *cycles), values)


def _add(function: FunctionType, values: list[Any], cycles: list[int], seen: set[int], depth: int) -> bool:
    """Add what a function depends on; whether all of it is settled."""
    if function.__dict__ or getattr(function, "__type_params__", None) or depth > DEEPEST:
        return False
    code, names = function.__code__, function.__globals__
    values += (code, function.__name__, function.__qualname__, function.__module__, function.__doc__)
    for value in _used_by(function, code, names):
        kind = type(value)
        if kind is FunctionType:
            if id(value) in seen:
                cycles.append(id(value))  # no reference, or a function would hold itself
                continue
            seen.add(id(value))
            values.append(value)
            if not importable(value) and not _add(value, values, cycles, seen, depth + 1):
                return False
        elif value is _ABSENT or kind in _SETTLED or _is_settled(kind, value):
            values.append(value)
        else:
            return False
    return True


def _used_by(function: FunctionType, code: CodeType, names: dict[str, Any]) -> list[Any]:
    used = [names.get(name, _ABSENT) for name in (*_GLOBALS_ALWAYS_SENT, *_names_in(code))]
    for cell in function.__closure__ or ():
        try:
            used.append(cell.cell_contents)
        except ValueError:  # it is empty yet
            used.append(_ABSENT)
    used += (_ABSENT, *(function.__defaults__ or ()), _ABSENT)
    for part in (function.__kwdefaults__, function.__annotations__):
        for pair in (part or {}).items():
            used += pair
    return used


def _names_in(code: CodeType) -> list[str]:
    """Return all names in some code, attributes' too: some of them may be globals."""
    names = [*code.co_names]
    for constant in code.co_consts:
        if type(constant) is CodeType:
            names += _names_in(constant)
    return names


def _is_settled(kind: type, value: Any) -> bool:
    if kind is ModuleType:
        name = value.__name__
        return sys.modules.get(name) is value and name not in cloudpickle.list_registry_pickle_by_value()
    if kind is BuiltinFunctionType:
        return value.__self__ is None or type(value.__self__) is ModuleType
    return kind in (type, ABCMeta) and importable(value)
