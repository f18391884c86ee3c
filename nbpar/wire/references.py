"""Find out whether other code may change a result before it is sent, which is pickled at once then.

Results of short items are pickled together, after several calls.  A function that refills and returns one
list or array would send its last content for all.  So a result is pickled as it is returned, if anything
in it that can be changed has references from elsewhere: the reference counts of its parts tell.  What has
references from within the result only is pickled later, with others, which is cheaper.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from datetime import datetime
from sys import getrefcount
from typing import Any
from weakref import ref

from nbpar.wire.independence import (
    DEEPEST,
    PLAIN,
    UNCHANGEABLE,
    has_only_attributes,
    is_array,
    is_atom,
    own_class,
)

LARGEST = 1 << 12
"""Parts on one level of a result from which it is pickled at once: to look at them would take as long."""

CLASSES = 64
"""Number of classes that are remembered."""

atoms: set[type] = {*PLAIN, datetime}
"""Types of objects that cannot be changed, as far as they have turned up."""

_CONTAINERS = UNCHANGEABLE | {list, dict, set}

_PLAIN_CONTAINERS = {tuple, list, dict}

_CHANGEABLE = {list, dict, set, bytearray}

_arrays: set[type] = set()
"""NumPy's array, once there was one."""


def settled(value: Any, alone: int, pickled: Callable[[Any], Any]) -> Any:
    """Return an object as other code cannot change it any more: itself if it is not held, a copy, or pickled.

    What is of a type that is not known counts as held.

    Args:
        value: the object.
        alone: references to one that is not held: `IN_VARIABLE` if only a variable of the caller refers to
            it, `IN_PARAMETER` if that is a parameter of the caller's, and a variable of its caller.
        pickled: returns a snapshot of an object.
    """
    kind = type(value)
    if kind in _arrays:
        held = getrefcount(value) > alone or (value.base is not None and _is_memory_held(value.base))
        return pickled(value) if value.dtype.hasobject else _copied(value) if held else value
    if kind in _PLAIN_CONTAINERS:
        if getrefcount(value) > alone and kind is not tuple:
            return value.copy() if _has_only_atoms(value, kind) else pickled(value)
    elif _is_atom(kind):
        return value
    elif is_array(kind):
        _arrays.add(kind)
        return pickled(value)
    elif getrefcount(value) > alone or not (kind in _CONTAINERS or _is_own(kind, value)):
        return pickled(value)
    return value if _are_alone(value, kind) or not _holds_held(value, kind) else pickled(value)


def _copied(array: Any) -> Any:
    copy = array.copy("K")
    copy.flags.writeable = array.flags.writeable
    return copy


def _has_only_atoms(value: Any, kind: type) -> bool:
    return atoms.issuperset(map(type, value)) and (
        kind is list or atoms.issuperset(map(type, value.values()))
    )


def _holds_held(value: Any, kind: type) -> bool:
    """Whether other code holds a part of a container or of an object."""
    level: Sequence[Any] = (value,)
    for _ in range(DEEPEST):
        level = [part for part in gc.get_referents(*level) if type(part) not in atoms and part is not kind]
        if not level:
            return False
        if len(level) > LARGEST or any(map(_is_part_held, level, list(map(getrefcount, level)))):
            return True
    return True


def _are_alone(value: Any, kind: type) -> bool:  # noqa: C901 (inlined, for its speed)
    """Whether an object has only atoms, arrays, and lists and tuples of atoms, held by no other code.

    That is found out in a fraction of the time, and few have others.
    """
    if kind is dict:
        for key in value:
            if type(key) not in atoms:
                return False
        value = value.values()
    elif kind not in _CONTAINERS:
        if not _own[ref(kind)][1]:
            return False
        value = vars(value).values()
    for part in value:
        own = type(part)
        if own in atoms or (own is tuple and atoms.issuperset(map(type, part))):
            continue
        if getrefcount(part) > _IN_LOOP:
            return False
        if own in _arrays:
            if part.base is not None or part.dtype.hasobject:
                return False
        elif own is not list or not atoms.issuperset(map(type, part)):
            return False
    return True


def _is_part_held(part: Any, references: int) -> bool:
    kind = type(part)
    if kind in _CHANGEABLE:
        return references > _AS_PART
    if kind in UNCHANGEABLE or _is_atom(kind):
        return False
    if references > _AS_PART or not is_array(kind) or part.dtype.hasobject:
        return True
    _arrays.add(kind)
    return part.base is not None and _is_memory_held(part.base)


def _is_memory_held(base: Any) -> bool:
    """Whether other code holds memory which an array does not own."""
    if type(base) is bytes:
        return False
    if getrefcount(base) > _AS_BASE:
        return True
    if not is_array(type(base)):
        return type(base) is not bytearray
    return base.base is not None and _is_memory_held(base.base)


def _is_atom(kind: type) -> bool:
    if kind in atoms:
        return True
    if found := is_atom(kind):
        atoms.add(kind)
    return found


def _is_own(kind: type, value: Any) -> bool:
    """Whether objects of a class of the user's have no say in how they are pickled."""
    key = ref(kind)
    if (known := _own.get(key)) is None:
        if len(_own) >= CLASSES:
            _own.clear()
        known = _own[key] = own_class([value]) is kind, has_only_attributes(kind)
    return known[0]


_own: dict[ref[type], tuple[bool, bool]] = {}
"""Of classes, whether that is so, and whether all that their objects hold is in a `__dict__`."""


def _count(value: Any, *_: Any) -> int:
    return getrefcount(value)


def _count_parameter(value: Any) -> int:
    return _count(value, 0, None)


def _counted() -> tuple[int, int]:
    value = bytearray()
    return _count(value, 0, None), _count_parameter(value)


def _counted_part() -> int:
    holder = [bytearray()]
    level = gc.get_referents(holder)
    [references] = list(map(getrefcount, level))
    return references


def _counted_in_loop() -> int:
    return next(getrefcount(part) for part in [bytearray()])


class _Holder:
    """Has a base, like an array."""

    base = bytearray()


# Which references count depends on the version of Python, so they are counted here in the ways of above.
IN_VARIABLE, IN_PARAMETER = _counted()
_AS_PART = _counted_part()
_IN_LOOP = _counted_in_loop()
_AS_BASE = _count(_Holder.base)
