"""The parts of an object that pickling it includes, each with the step that leads to it.

This follows cloudpickle: nothing below objects pickled by name, and of other objects the parts that their own
reduction returns, not their attributes.
"""

from __future__ import annotations

import io
import types
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import cloudpickle

from nbpar.host.ctrl_c import may_be_ctrl_c
from nbpar.wire.pickling import Pickler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ATOMS = frozenset(
    {bool, int, float, complex, str, bytes, bytearray, range, type(None), type(...), types.CodeType}
)
"""Types that contain no other objects and can always be pickled."""

MANY = 300_000
"""Maximal number of objects visited; an iterator of a user's class may be endless."""


class Step(NamedTuple):
    """A step from an object to one of its parts."""

    role: str
    """`variable`, `parameter` (its default), `element`, `key`, or `part` of the expression."""

    text: str
    """Name of the variable or parameter, or the next part of an expression: `.model`, `[3]`."""


class Part(NamedTuple):
    """A step and its target."""

    step: Step
    value: Any


def parts(holder: Any) -> Iterator[Part]:
    """Yield the parts that pickling an object includes, except atoms; never raises."""
    try:
        for place in _parts(holder):
            if type(place.value) not in ATOMS:
                yield place
    except GeneratorExit:
        raise  # the consumer has stopped
    except BaseException as error:
        if may_be_ctrl_c(error):
            raise  # otherwise it is user code, which has failed before


def _parts(holder: Any) -> Iterator[Part]:
    kind = type(holder)
    if kind in (list, tuple):
        return _indexed(holder)
    if kind is dict:
        return _entries(holder.items())
    if kind in (set, frozenset):
        return (_place("element", "", value) for value in holder)
    if kind is types.FunctionType:
        return _function_parts(holder)
    if kind is types.MethodType:
        return iter(
            (_place("variable", "self", holder.__self__), _place("part", ".__func__", holder.__func__))
        )
    if kind is types.CellType:
        return iter((_place("part", "", holder.cell_contents),))
    if kind.__module__ == "numpy" and hasattr(holder, "dtype"):
        return _array_parts(holder)
    return iter(()) if isinstance(holder, io.IOBase) else _object_parts(holder)


def _place(role: str, text: str, value: object) -> Part:
    return Part(Step(role, text), value)


def _indexed(values: Any, before: str = "") -> Iterator[Part]:
    if type(values) in (list, tuple) and ATOMS.issuperset(map(type, values)):
        return iter(())  # skips long lists of numbers at the speed of C
    return (
        _place("part", f"{before}[{index}]", value)
        for index, value in enumerate(values)
        if type(value) not in ATOMS
    )


def _entries(entries: Any) -> Iterator[Part]:
    for key, value in entries:
        if type(value) not in ATOMS:
            name = f"{key!r:.40}" if type(key) in ATOMS else "..."
            yield _place("part", f"[{name}]", value)
        if type(key) not in ATOMS:
            yield _place("key", "", key)


def _array_parts(array: Any) -> Iterator[Part]:
    if not array.dtype.hasobject:
        return iter(())
    return _indexed(array.flat, "" if array.ndim == 1 else ".flat")


def _function_parts(function: types.FunctionType) -> Iterator[Part]:
    """Follow cloudpickle: no parts of a function pickled by name, all objects used by any other."""
    reduced = cloudpickle.CloudPickler(io.BytesIO()).reducer_override(function)
    if reduced is NotImplemented:
        return
    attributes, slots = reduced[2]
    for name, value in slots.get("__globals__", {}).items():
        yield _place("variable", name, value)
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        yield _place("variable", name, cell)
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    defaults = function.__defaults__ or ()
    yield from (
        _place("parameter", *pair)
        for pair in zip(names[len(names) - len(defaults) :], defaults, strict=False)
    )
    yield from (_place("parameter", name, value) for name, value in (function.__kwdefaults__ or {}).items())
    yield from (_place("part", f".{name}", value) for name, value in attributes.items())
    yield _place("part", ".__annotations__", function.__annotations__)


def _object_parts(holder: Any) -> Iterator[Part]:
    """Follow an object's own reduction, naming attributes where they can be recognized."""
    reduced = _reduced(holder)
    if not isinstance(reduced, tuple):
        return
    make, arguments, state, items, entries = (*reduced, None, None, None)[:5]
    name = _namer(holder)
    yield from _state_parts(state, name)
    for index, value in enumerate(arguments):
        yield _place(
            "part", name(value) or (f".args[{index}]" if isinstance(holder, BaseException) else ""), value
        )
    yield _place("part", "", make)
    yield from _indexed(islice(items or (), MANY))
    yield from _entries(islice(entries or (), MANY))


def _state_parts(state: Any, name: Callable[[object], str]) -> Iterator[Part]:
    if type(state) is tuple and len(state) == 2 and all(type(half) in (dict, type(None)) for half in state):
        for half in state:  # `__dict__` and `__slots__`
            yield from _state_parts(half, name)
    elif type(state) is dict:
        yield from (_place("part", f".{key}", value) for key, value in state.items())
    elif type(state) in (tuple, list):
        for index, value in enumerate(state):
            yield _place("part", name(value) or f".__getstate__()[{index}]", value)
    elif state is not None:
        yield _place("part", name(state) or ".__getstate__()", state)


def _reduced(holder: Any) -> Any:
    if isinstance(holder, type):
        return cloudpickle.CloudPickler(io.BytesIO()).reducer_override(holder)
    reducer = Pickler.dispatch_table.get(type(holder))
    return reducer(holder) if reducer is not None else holder.__reduce_ex__(5)


def _namer(holder: Any) -> Callable[[object], str]:
    """Return a function that names the attribute of `holder` with a given value, or returns ""."""
    names = [*getattr(holder, "__dict__", ()), *getattr(type(holder), "_fields", ()), "__class__", "__self__"]
    for base in type(holder).__mro__:
        slots = base.__dict__.get("__slots__", ())
        names += [slots] if isinstance(slots, str) else slots
    if isinstance(holder, partial):
        names += ["func", "args", "keywords"]
    known = {id(getattr(holder, name, None)): f".{name}" for name in names}
    return lambda value: known.get(id(value), "") if type(value) not in ATOMS else ""
