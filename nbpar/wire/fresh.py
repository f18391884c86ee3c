"""Memory for what is on its way: written to once, by the system, and not touched before.

`bytes` cannot be filled in Python, but whoever makes one in C without contents may fill it as
long as nobody else has seen it (PyBytes_FromStringAndSize and PyBytes_AsString in Python's C API).
"""

from __future__ import annotations

import ctypes
from typing import Any

try:
    _make: Any = ctypes.pythonapi.PyBytes_FromStringAndSize
    _make.restype, _make.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_ssize_t]
    _address: Any = ctypes.pythonapi.PyBytes_AsString
    _address.restype, _address.argtypes = ctypes.c_void_p, [ctypes.py_object]
except AttributeError:  # another Python than CPython
    _make = _address = None


def unwritten_bytes(size: int) -> tuple[bytes | bytearray, memoryview]:
    """Return bytes without contents, and where to write these before anybody else sees them.

    Where that cannot be had it is a bytearray.
    """
    if _make is None:
        frame = bytearray(size)
        return frame, memoryview(frame)
    made: bytes = _make(None, size)
    return made, memoryview((ctypes.c_char * size).from_address(_address(made))).cast("B")
