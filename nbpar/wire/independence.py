"""Find out whether items can be pickled together: whether they share nothing that can be changed.

Objects that are pickled together arrive together: a part of two of them is one part of both again, so a
function that changes one item would change another, depending on which items are in one chunk.
And one that fails takes the others with it.  So only items are pickled together that consist of
types of which the pickling is known, cannot fail for one of them alone, and runs no code of theirs.

The garbage collector tells what is in a container (`gc.get_referents`), a whole level at a time.
"""

from __future__ import annotations

import copyreg
import gc
import sys
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from operator import attrgetter
from pathlib import PosixPath, PurePosixPath, PureWindowsPath, WindowsPath
from typing import Any
from uuid import UUID

DEEPEST = 16
"""Containers that are deeper within each other are pickled item by item."""

PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes})
"""Types of single numbers and texts."""

_ATOMS = PLAIN | {
    range, date, timedelta, timezone, Decimal, Fraction, UUID,
    PosixPath, PurePosixPath, PureWindowsPath, WindowsPath,
}  # fmt: skip
"""Types of objects that cannot be changed; shared ones do no harm."""

UNCHANGEABLE = frozenset({tuple, frozenset})
"""Containers that may be shared if all that is in them may be."""

_CONTAINERS = UNCHANGEABLE | {list, dict, set}

_NOT_SCALARS = ("void", "object_", "record")

_TYPE, _SIZE, _WRITABLE = attrgetter("dtype"), attrgetter("nbytes"), attrgetter("flags.writeable")

_DEFAULTS = ("__reduce__", "__reduce_ex__", "__getattribute__", "__new__")
"""Methods that a class has from `object` if its objects are pickled and made in the usual way."""

_OWN = ("__getattr__", "__getnewargs__", "__getnewargs_ex__", "__setstate__")
"""Methods that it does not have then."""


def trees(items: Sequence[Any]) -> bool:
    """Whether plain items have no part twice, so that they may be pickled without noting what is in them."""
    if not any(map(gc.is_tracked, items)):  # they hold no containers
        return True
    known = _Parts()
    level: Sequence[Any] = [item for item in items if type(item) not in PLAIN]
    for _ in range(DEEPEST):
        level = gc.get_referents(*level)
        if PLAIN.issuperset(map(type, level)):
            return True
        level = [part for part in level if type(part) not in PLAIN]
        if not known.are_new(level):
            return False
    return False


def independent(
    items: Sequence[Any], *, smaller_than: int, instances: bool = True, arrays: list[Any] | None = None
) -> bool:
    """Whether items share nothing that can be changed, and none can fail alone to be pickled or made.

    All their arrays are smaller than a number of bytes.  `instances`: they may be objects of one class of
    the user's that has no say in it, like a dataclass.  Arrays that are found are added to `arrays`.
    """
    known = _Parts()
    level: Sequence[Any] = items
    own = own_class(items) if instances else None
    for _ in range(DEEPEST):
        kinds = set(map(type, level))
        if any(kind is not own and not _is_known(kind) for kind in kinds):
            return False
        atoms = set(filter(is_atom, kinds))
        if len(atoms) == len(kinds):
            return True
        parts = [part for part in level if type(part) not in atoms] if atoms else level
        if not (known.are_new(parts) and _are_plain(parts, kinds, smaller_than, arrays)):
            return False
        level = gc.get_referents(*parts)
        if own is not None:
            level, own = [part for part in level if part is not own], None
    return False


class _Parts:
    """The parts of items that can be changed, as far as they were seen."""

    def __init__(self) -> None:
        self._known: set[int] = set()
        self._number = 0

    def are_new(self, parts: Iterable[Any]) -> bool:
        """Whether none of these was seen before, or is here twice."""
        seen = [id(part) for part in parts if type(part) not in UNCHANGEABLE]
        self._number += len(seen)
        self._known.update(seen)
        return len(self._known) == self._number


def own_class(items: Sequence[Any]) -> type | None:
    """Return the class of all items, if its objects are pickled and made without code of its own."""
    kinds = set(map(type, items))
    kind = kinds.pop()
    if kinds or type(kind) is not type or kind in copyreg.dispatch_table:
        return None
    usual = all(getattr(kind, name) is getattr(object, name) for name in _DEFAULTS)
    usual = usual and getattr(kind, "__getstate__", None) is getattr(object, "__getstate__", None)
    return kind if usual and not any(hasattr(kind, name) for name in _OWN) else None


def has_only_attributes(kind: type) -> bool:
    """Whether all that objects of a class hold is in their `__dict__`."""
    return bool(kind.__dictoffset__) and not any("__slots__" in vars(base) for base in kind.__mro__)


def numpy_scalar(kind: type) -> bool:
    """Whether a type is one of NumPy's for single numbers and texts."""
    if kind.__module__ != "numpy" or kind.__name__ in _NOT_SCALARS:
        return False
    scalar = getattr(sys.modules.get("numpy"), "generic", None)
    return scalar is not None and issubclass(kind, scalar)


def is_array(kind: type) -> bool:
    """Whether a type is NumPy's array, and no subclass of it."""
    return kind.__module__ == "numpy" and kind.__name__ == "ndarray"


def is_atom(kind: type) -> bool:
    """Whether objects of a type cannot be changed, and are pickled and made without code of the user's."""
    return kind in _ATOMS or numpy_scalar(kind)


def are_writable(arrays: Sequence[Any]) -> bool:
    """Whether all arrays may be written to."""
    return all(map(_WRITABLE, arrays))


def _is_known(kind: type) -> bool:
    return kind in _CONTAINERS or kind is datetime or is_atom(kind) or is_array(kind)


def _are_plain(parts: Sequence[Any], kinds: set[type], smaller_than: int, found: list[Any] | None) -> bool:
    """Whether arrays are small ones of numbers of this machine, and no time has a zone of the user's."""
    if datetime in kinds and any(
        type(part) is datetime and type(part.tzinfo) not in _ATOMS for part in parts
    ):
        return False
    array = next(filter(is_array, kinds), None)
    if array is None:
        return True
    arrays = [part for part in parts if type(part) is array]
    if found is not None:
        found += arrays
    types = set(map(_TYPE, arrays))
    return max(map(_SIZE, arrays)) < smaller_than and all(one.isnative and not one.hasobject for one in types)
