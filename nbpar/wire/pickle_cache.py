"""Reuse the pickle of a function that is sent again, while all that it depends on is identical.

cloudpickle takes about 80 us for a function of a notebook, which is most of what it costs to submit a call.
Only functions are kept that depend on nothing that can change unseen: their code, and closure cells,
defaults and globals that hold numbers, strings, modules, what can be imported, or functions of which the
same is true.  Those are compared by identity each time.  A list or an object of a class is none of these.
"""

from __future__ import annotations

import sys
import weakref
from abc import ABCMeta
from collections.abc import Callable, Iterator
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any, Generic, TypeVar

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


class Kept(Generic[T]):
    """What was made of some functions lately; safe from any thread."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[weakref.ref[Any], list[Any], T]] = {}

    def made(self, function: Any, make: Callable[[], T], size: Callable[[T], int]) -> T:
        """Return what `make` made of a function when everything was as it is now; else have it made.

        Raises:
            Exception: what `make` raises.
        """
        state = _state_or_none(function)
        if state is None:
            return make()
        known = self._known.get(id(function))
        if known is not None and known[0]() is function and _same(known[1], state):
            return known[2]
        new = make()
        self._known.pop(id(function), None)
        # pickling may run the user's code
        if size(new) <= LARGEST and _same(_state_or_none(function) or [], state):
            self._known[id(function)] = (weakref.ref(function), state, new)
            while len(self._known) > MOST:
                self._known.pop(next(iter(self._known)), None)
        return new


def _state_or_none(function: Any) -> list[Any] | None:
    try:
        return state_of(function)
    except BaseException as error:  # a module's `__getattr__` may raise anything
        if may_be_ctrl_c(error):
            raise
        return None


def state_of(function: Any) -> list[Any] | None:
    """Return all that a function's pickle depends on; None where some of it may change unseen."""
    if type(function) is not FunctionType:
        return None
    # with packages come their submodules that are imported by now
    state: list[Any] = [len(sys.modules), next(reversed(sys.modules)), importable(function)]
    state += sorted(cloudpickle.list_registry_pickle_by_value())
    return state if state[2] or _add(function, state, {id(function)}, 0) else None


def _add(function: FunctionType, state: list[Any], seen: set[int], depth: int) -> bool:
    """Add what a function depends on; whether all of it is settled."""
    if function.__dict__ or getattr(function, "__type_params__", None) or depth > DEEPEST:
        return False
    code, names = function.__code__, function.__globals__
    state += (code, function.__name__, function.__qualname__, function.__module__, function.__doc__)
    for value in _values_of(function, code, names):
        kind = type(value)
        if kind is FunctionType:
            if id(value) in seen:
                state.append(id(value))  # no reference, or a function would hold itself
                continue
            seen.add(id(value))
            state.append(value)
            if not importable(value) and not _add(value, state, seen, depth + 1):
                return False
        elif value is _ABSENT or kind in _SETTLED or _is_settled(kind, value):
            state.append(value)
        else:
            return False
    return True


def _values_of(function: FunctionType, code: CodeType, names: dict[str, Any]) -> Iterator[Any]:
    for name in _GLOBALS_ALWAYS_SENT:
        yield names.get(name, _ABSENT)
    for name in _names_in(code):
        yield names.get(name, _ABSENT)
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # it is empty yet
            yield _ABSENT
    yield from function.__defaults__ or ()
    for part in (function.__kwdefaults__, function.__annotations__):
        for name, value in (part or {}).items():
            yield name
            yield value
    yield len(function.__defaults__ or ())


def _names_in(code: CodeType) -> Iterator[str]:
    """Yield all names in some code, attributes' too: some of them may be globals."""
    yield from code.co_names
    for constant in code.co_consts:
        if type(constant) is CodeType:
            yield from _names_in(constant)


def _is_settled(kind: type, value: Any) -> bool:
    if kind is ModuleType:
        name = value.__name__
        return sys.modules.get(name) is value and name not in cloudpickle.list_registry_pickle_by_value()
    if kind is BuiltinFunctionType:
        return value.__self__ is None or type(value.__self__) is ModuleType
    return kind in (type, ABCMeta) and importable(value)


def _same(one: list[Any], other: list[Any]) -> bool:
    return len(one) == len(other) and all(
        a is b or (type(a) is type(b) is int and a == b) for a, b in zip(one, other, strict=True)
    )
