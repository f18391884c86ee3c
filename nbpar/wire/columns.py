"""Pickle many like items, tuples, dicts or objects of one class, as columns instead of rows.

A list of numbers costs a fraction of as many objects with one number each, and small arrays of one shape
are joined (`stacking`).  It makes no difference to the items: the values of a column are either immutable
or arrays, none of which is there twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from inspect import getattr_static
from itertools import chain, repeat
from operator import itemgetter
from typing import Any

from nbpar.wire.independence import has_only_attributes, is_atom, own_class
from nbpar.wire.stacking import Stack, can_be_stacked


class Columns:
    """Pickles like a list of items.

    Args:
        kind: `tuple`, `dict`, or the class of the items.
        names: the keys or attributes of an item; for a tuple its places.
        columns: the values of all items for each of them; as `Stack` where they are arrays.
    """

    def __init__(self, kind: type, names: tuple[Any, ...], columns: Sequence[Any]) -> None:
        self._kind = kind
        self._names = names
        self._columns = columns

    def __reduce__(self) -> tuple[Callable[..., list[Any]], tuple[Any, ...]]:
        return items_of, (self._kind, self._names, self._columns)


def items_of(kind: type, names: tuple[Any, ...], columns: Sequence[Sequence[Any]]) -> list[Any]:
    """Return the items."""
    if kind is tuple:
        return list(zip(*columns, strict=True))
    if kind is dict:
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    made: list[Any] = list(map(object.__new__, repeat(kind, len(columns[0]))))
    for name, column in zip(names, columns, strict=True):
        deque(map(object.__setattr__, made, repeat(name), column), maxlen=0)  # the quickest of loops
    return made


_KEYS = {str, bytes, int, type(None)}
"""Types of keys that are equal only where they are the same."""


def columns_of(items: Sequence[Any], *, smaller_than: int, instances: bool) -> Columns | None:
    """Return items as columns; None where they are not alike, hold anything else, or rows are as good.

    Args:
        items: at least one.
        smaller_than: bytes of the largest arrays.
        instances: whether they may be objects of a class of the user's.
    """
    kind = type(items[0])
    if set(map(type, items)) != {kind}:
        return None
    if kind is tuple:
        names: tuple[Any, ...] = tuple(range(len(items[0])))
        return _columns(kind, names, items, smaller_than) if set(map(len, items)) == {len(names)} else None
    if kind is dict:
        states = items
    elif instances and own_class(items) is kind and has_only_attributes(kind):
        states = list(map(vars, items))
    else:
        return None
    names = tuple(states[0])
    if set(map(tuple, states)) != {names} or len(set(map(id, states))) < len(states):
        return None
    keys = set(map(type, chain.from_iterable(states)))  # 1, 1.0 and True are equal, and so are 0.0 and -0.0
    if not keys <= (_KEYS if kind is dict else {str}):
        return None
    if kind is not dict and not all(_is_stored(kind, name) for name in names):
        return None
    return _columns(kind, names, states, smaller_than)


def _columns(kind: type, names: tuple[Any, ...], states: Sequence[Any], smaller_than: int) -> Columns | None:
    if kind in (tuple, dict) and all(is_atom(type(states[0][name])) for name in names):
        return None
    columns: list[Any] = []
    arrays: list[Any] = []
    for name in names:
        column = list(map(itemgetter(name), states))
        if can_be_stacked(column, smaller_than):
            arrays += column
            columns.append(Stack(column))
        elif all(map(is_atom, set(map(type, column)))):
            columns.append(column)
        else:
            return None
    return Columns(kind, names, columns) if columns and len(set(map(id, arrays))) == len(arrays) else None


def _is_stored(kind: type, name: Any) -> bool:
    """Whether setting an attribute of an object stores it there, instead of calling a descriptor."""
    found = type(getattr_static(kind, name, None))
    return not (hasattr(found, "__set__") or hasattr(found, "__delete__"))
