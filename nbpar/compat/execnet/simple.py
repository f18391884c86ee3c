"""`dumps` and `loads` for execnet's simple types: exact built-ins, nothing that runs code.

The bytes are our own (a pickle of plain values), not execnet's.
"""

from __future__ import annotations

import io
import pickle
from types import NoneType
from typing import IO, Any

ATOMS = frozenset({NoneType, bool, int, float, complex, bytes, str})
SEQUENCES = frozenset({list, tuple, set, frozenset})


class DataFormatError(Exception):
    """Base of what these functions raise."""


class DumpError(DataFormatError):
    """Something is of no simple type."""


class LoadError(DataFormatError):
    """These bytes are no dump."""


class _Plain(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("builtins", "complex"):
            return complex
        raise LoadError(f"a dump may not hold {module}.{name}")


def dumps(obj: object) -> bytes:
    """Return an object of simple types as bytes."""
    _check(obj)
    return pickle.dumps(obj, 4)


def loads(data: bytes, **_: object) -> Any:
    """Reverse `dumps`."""
    return load(io.BytesIO(data))


def dump(out: IO[bytes], obj: object) -> None:
    """Write an object of simple types to a file."""
    out.write(dumps(obj))


def load(source: IO[bytes], **_: object) -> Any:
    """Read what `dump` wrote."""
    try:
        return _Plain(source).load()
    except LoadError:
        raise
    except Exception as error:
        raise LoadError(f"not a dump: {error}") from error


def _check(obj: Any) -> None:
    kind = type(obj)
    if kind in SEQUENCES:
        for part in obj:
            _check(part)
    elif kind is dict:
        for key, value in obj.items():
            _check(key)
            _check(value)
    elif kind not in ATOMS:
        raise DumpError(f"can't serialize {kind}")
