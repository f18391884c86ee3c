"""Estimate the size of a value in memory, without pickling or copying it."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import PurePath
from types import FunctionType, ModuleType

from nbpar.host.ctrl_c import may_be_ctrl_c

_SAMPLE = 20
_DEPTH = 3
_SMALL = 1000
_PLAIN = {bool, bytes, complex, float, int, str, type(None)}


def estimated_bytes(value: object, depth: int = _DEPTH) -> int:
    """Estimated size of a value in bytes; of long containers only the first elements are inspected.

    Raises nothing but Ctrl-C: values that cannot be inspected count as 0.
    """
    if type(value) in _PLAIN:
        return sys.getsizeof(value)
    try:
        return _estimated(value, depth)
    except BaseException as error:
        if may_be_ctrl_c(error):
            raise
        return 0


def _estimated(value: object, depth: int) -> int:
    if isinstance(value, (ModuleType, type)):
        return 0
    own = _own_size(value)
    if own is not None:
        return own
    shallow = sys.getsizeof(value, 0)
    if depth == 0:
        return shallow
    if isinstance(value, dict):
        inside = (value.keys(), value.values())
        return shallow + sum(_of_elements(part, len(value), depth) for part in inside)
    if isinstance(value, (list, tuple, set, frozenset, deque)):
        return shallow + _of_elements(value, len(value), depth)
    attributes = getattr(value, "__dict__", None)
    if isinstance(attributes, dict) and not isinstance(value, FunctionType):
        return shallow + _of_elements(attributes.values(), len(attributes), depth)
    return shallow


def small(items: Sequence[object]) -> bool:
    """Whether items are short plain values, paths, or small tuples, so that keeping them is cheap."""
    packed = getattr(items, "packed", None)
    if packed is not None:
        return bool(packed.nbytes <= _SMALL)
    return all(_is_small(item) for item in items)


def _is_small(item: object) -> bool:
    if type(item) is tuple:
        return len(item) <= _SAMPLE and all(type(part) is not tuple and _is_small(part) for part in item)
    return isinstance(item, PurePath) or (type(item) in _PLAIN and sys.getsizeof(item) <= _SMALL)


def _own_size(value: object) -> int | None:
    """Size reported by arrays and tables themselves."""
    try:
        size = getattr(value, "nbytes", None)
        if isinstance(size, int):
            return int(size)
        if type(value).__module__.partition(".")[0] == "pandas":
            usage = value.memory_usage()  # type: ignore[attr-defined]  # a number, or one for each column
            return int(usage.sum() if hasattr(usage, "sum") else usage)
    except BaseException as error:  # an attribute may raise anything; an estimate must not stop a run
        if may_be_ctrl_c(error):
            raise
    return None


def _of_elements(elements: Iterable[object], count: int, depth: int) -> int:
    sample = [estimated_bytes(element, depth - 1) for element in islice(elements, _SAMPLE)]
    return sum(sample) * count // len(sample) if sample else 0
