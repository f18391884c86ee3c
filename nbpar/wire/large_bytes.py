"""Let large `bytes` and `bytearray` objects in items be sent out of band, as arrays are.

The pickler copies them into the pickle, where they have no say in it.  So an item that is one, or a
container of plain values with some, is pickled with stand-ins for them.  They arrive as what they were.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from typing import Any

LARGE = 1 << 16
"""Size in bytes from which one is sent out of band."""

DEEPEST = 3
"""Containers within containers that are looked into: the arguments of a submitted call are two deep."""

_BYTES = frozenset({bytes, bytearray})

_ATOMS = frozenset({type(None), bool, int, float, complex, str, bytes})


class _StandIn:
    """Pickles like the object, with its content out of band."""

    def __init__(self, content: bytes | bytearray) -> None:
        self._content = content

    def __reduce__(self) -> tuple[Callable[[Any], Any], tuple[pickle.PickleBuffer]]:
        if type(self._content) is bytes:
            return bytes, (pickle.PickleBuffer(self._content),)
        # its owner may refill it, and could not resize it while it is exported
        return _as_bytearray, (pickle.PickleBuffer(bytearray(self._content)),)


def _as_bytearray(buffer: Any) -> bytearray:
    return buffer if type(buffer) is bytearray else bytearray(buffer)


def are_likely(items: Sequence[Any]) -> bool:
    """Whether the first or the last item has large bytes; others are most likely like them."""
    if type(items) not in (list, tuple) or not items:
        return False
    return _has_large(items[0]) or _has_large(items[-1])


def with_stand_ins(item: Any) -> Any:
    """Return an item with stand-ins for large bytes; the item itself where it has none, or other objects too.

    Other objects could refer to the item, or to what is in it, and would find something else there.
    """
    stand_ins: dict[int, _StandIn] = {}
    new = _replaced(item, stand_ins, {}, DEEPEST)
    return item if new is _OTHER or not stand_ins else new


_OTHER: Any = object()
"""Stands for what cannot be replaced."""


def _replaced(part: Any, stand_ins: dict[int, _StandIn], seen: dict[int, Any], depth: int) -> Any:
    kind = type(part)
    if kind in _BYTES and len(part) >= LARGE:
        return stand_ins.setdefault(id(part), _StandIn(part))
    if kind in _ATOMS:
        return part
    if kind not in (tuple, list, dict) or not depth or id(part) in seen:
        return _OTHER  # a part that is there twice must be one thing there, too
    seen[id(part)] = part
    inside = [_replaced(one, stand_ins, seen, depth - 1) for one in (part.values() if kind is dict else part)]
    if any(one is _OTHER for one in inside):
        return _OTHER
    if kind is dict:
        keys_are_plain = all(type(key) in _ATOMS for key in part)
        return dict(zip(part, inside, strict=True)) if keys_are_plain else _OTHER
    return kind(inside)


def _has_large(item: Any, depth: int = DEEPEST) -> bool:
    kind = type(item)
    if kind in _BYTES:
        return len(item) >= LARGE
    if kind is dict:
        item = item.values()
    elif kind not in (tuple, list):
        return False
    return bool(depth) and len(item) <= _WIDEST and any(_has_large(part, depth - 1) for part in item)


_WIDEST = 64
"""Longer containers are not looked into."""
