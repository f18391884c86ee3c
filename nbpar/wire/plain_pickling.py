"""Pickle plain values only; subclasses and other types are converted before.

Names, texts and numbers in the headers of messages may come from user code: a text from a
`__str__` may be of a user's class, a time limit a number of NumPy.  The other side rejects
a header that names a class.
"""

from __future__ import annotations

import io
import numbers
import pickle
from typing import Any

from nbpar.core.text import short

_ATOMS = (str, bytes, bool, int, float)


class _NotPlainError(Exception):
    """An object is not exactly of a built-in type."""


class _StrictPickler(pickle.Pickler):
    """Calls `reducer_override` for objects whose type is not exactly a built-in one."""

    def reducer_override(self, obj: Any) -> Any:  # noqa: ARG002 (whatever it is)
        raise _NotPlainError


def dumps_plain(value: Any) -> bytes:
    """Pickle tuples, lists and dicts of texts and numbers; other values are converted to one of these."""
    try:
        return _dumps(value)
    except _NotPlainError:
        return _dumps(plain(value))


def plain(value: Any) -> Any:
    """Return a value that consists only of tuples, lists, dicts, texts and numbers of Python's own types."""
    kind = type(value)
    if value is None or kind in _ATOMS:
        return value
    if isinstance(value, tuple):
        return tuple(map(plain, tuple.__iter__(value)))
    if isinstance(value, list):
        return list(map(plain, list.__iter__(value)))
    if isinstance(value, dict):
        return {plain(key): plain(dict.__getitem__(value, key)) for key in dict.__iter__(value)}
    try:
        return _atom(value)
    except BaseException:  # noqa: BLE001 (any user code may run here)
        return short(value)


def _atom(value: Any) -> Any:
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, (bytes, bytearray)):
        return bytes(memoryview(value))
    if isinstance(value, numbers.Integral) or hasattr(value, "__index__"):
        return int(value)
    return float(value) if isinstance(value, numbers.Real) else short(value)


def _dumps(value: Any) -> bytes:
    out = io.BytesIO()
    _StrictPickler(out, 5).dump(value)
    return out.getvalue()
