"""About how large a value is in memory.  Nothing is pickled or copied for that."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable
from itertools import islice
from types import FunctionType, ModuleType

_SAMPLE = 20
_DEPTH = 3
_PLAIN = {bool, bytes, complex, float, int, str, type(None)}


def estimated_bytes(value: object, depth: int = _DEPTH) -> int:
    """About how many bytes a value takes; of long containers only the first elements are looked at."""
    if type(value) in _PLAIN:
        return sys.getsizeof(value)
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


def _own_size(value: object) -> int | None:
    """What arrays and tables say of themselves."""
    try:
        size = getattr(value, "nbytes", None)
        if isinstance(size, int):
            return size
        if type(value).__module__.startswith("pandas."):
            usage = value.memory_usage()  # type: ignore[attr-defined]  # a number, or one for each column
            return int(usage.sum() if hasattr(usage, "sum") else usage)
    except Exception:  # noqa: BLE001 (an attribute may do anything; an estimate must not stop a run)
        return None
    return None


def _of_elements(elements: Iterable[object], count: int, depth: int) -> int:
    sample = [estimated_bytes(element, depth - 1) for element in islice(elements, _SAMPLE)]
    return sum(sample) * count // len(sample) if sample else 0
