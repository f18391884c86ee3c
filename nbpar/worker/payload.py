"""What is sent through a channel, as bytes: by value, large buffers out of band.

Channels themselves may be inside; they travel by number and mean the same channel on arrival.
"""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import NoneType
from typing import Any

from nbpar.errors import PicklingError
from nbpar.wire.diagnosis import explain, explain_unpickling
from nbpar.wire.pickling import OUT_OF_BAND, Packed, pack_one, unpack_one

NUMBERS = frozenset({int, float, bool, NoneType})
"""Types of short items; `None` travels like them."""

TEXTS = frozenset({str, bytes})
"""Types whose items are short when they are no longer than `SHORT`."""

PLAIN = NUMBERS | TEXTS | {complex}
"""Types that need no more than the quickest way of pickling."""

SHORT = 128
"""Bytes that a short item counts for.  Short items travel many together, as they are."""

NOTHING: Any = object()
"""Stands for "there is no item now"."""

OVERHEAD = 64
"""Bytes that an item is counted for besides its own."""


class _Way(threading.local):
    """Where what is being pickled or unpickled in this thread comes from or goes to."""

    port: Any = None


_way = _Way()


@contextmanager
def through(port: Any) -> Iterator[None]:
    """Let channels of this port travel in what is pickled or unpickled in this block."""
    outer, _way.port = _way.port, port
    try:
        yield
    finally:
        _way.port = outer


def current_port() -> Any:
    """The port that this thread pickles or unpickles for, or None."""
    return _way.port


def arrive(number: int) -> Any:
    """Turn the number of a channel into this side's end of it (called by pickle)."""
    if _way.port is None:
        raise PicklingError("a channel can be unpickled only where it arrives through a channel")
    return _way.port.channel(number)


def pack_value(value: Any, port: Any) -> Packed:
    """Take a copy of `value` as bytes; later changes of it do not show.

    Raises:
        PicklingError: it cannot travel; the message says which part.
    """
    kind = type(value)
    if kind is bytes and len(value) >= OUT_OF_BAND:
        return Packed(value, (), [])
    if kind in PLAIN:
        return Packed(pickle.dumps(value, 5), None, [])
    return _packed(value, port, what=f"an item of type {kind.__name__} through the channel")


def pack_code(code: Any, port: Any, *, name: str) -> Packed:
    """Pickle what is to run at the other end."""
    return _packed(code, port, what=f"{name} to the worker")


def unpack_value(packed: Any, port: Any) -> Any:
    """Reverse `pack_value`; what is short has come as it is.

    Raises:
        PicklingError: it cannot be unpickled here; the message says why.
    """
    if type(packed) is not Packed:
        return packed
    if packed.layout == ():
        return bytes(packed.head)
    if packed.layout is None:
        return pickle.loads(packed.head)
    return _unpacked(packed, port, what="what came through the channel")


def unpack_code(packed: Packed, port: Any) -> Any:
    """Reverse `pack_code`."""
    return _unpacked(packed, port, what="the code for the worker")


def size_of(packed: Packed) -> int:
    """Bytes that an item counts for that is not short, on both sides."""
    return (packed.nbytes if packed.buffers else len(packed.head)) + OVERHEAD


def _packed(value: Any, port: Any, *, what: str) -> Packed:
    _way.port, outer = port, _way.port
    try:
        packed = pack_one(value)
    except Exception as error:
        raise PicklingError(explain(value, error, what=what)) from error
    finally:
        _way.port = outer
    if packed.buffers:  # the owner may go on to change them
        return packed._replace(buffers=[bytearray(buffer) for buffer in packed.buffers])
    return packed


def _unpacked(packed: Packed, port: Any, *, what: str) -> Any:
    _way.port, outer = port, _way.port
    try:
        return unpack_one(packed)
    except Exception as error:
        raise PicklingError(explain_unpickling(error, what=what)) from error
    finally:
        _way.port = outer
