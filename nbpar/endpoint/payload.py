"""Serialize items sent through a channel: by value, large buffers out of band.

Channels inside items are sent by number and denote the same channel on arrival.
"""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import NoneType
from typing import Any

from nbpar.errors import PicklingError
from nbpar.host.ctrl_c import may_be_ctrl_c
from nbpar.wire.diagnosis.explain import explain, explain_unpickling
from nbpar.wire.pickling import OUT_OF_BAND, Packed, Unreceived, pack_one, unpack_one

NUMBERS = frozenset({int, float, bool, NoneType})
"""Types of short items; `None` is handled like them."""

TEXTS = frozenset({str, bytes})
"""Types whose items are short if they are no longer than `SHORT`."""

PLAIN = NUMBERS | TEXTS | {complex}
"""Types that the fastest pickler can handle."""

SHORT = 128
"""Size in bytes counted for a short item.  Short items are sent together, as they are."""

NOTHING: Any = object()
"""Sentinel for "no item available"."""

ITEM = "what came through the channel"

OVERHEAD = 64
"""Bytes counted for an item in addition to its own."""


class _Route(threading.local):
    """The port for which this thread pickles or unpickles."""

    port: Any = None


_way = _Route()


@contextmanager
def through(port: Any) -> Iterator[None]:
    """Allow channels of this port in values pickled or unpickled in this block."""
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
    """Serialize `value`; later changes of it have no effect.

    Raises:
        PicklingError: it cannot be serialized; the message names the part.
    """
    kind = type(value)
    if kind is bytes and len(value) >= OUT_OF_BAND:
        return Packed(value, (), [])
    if kind in PLAIN:
        return Packed(pickle.dumps(value, 5), None, [])
    return _packed(value, port, what=f"an item of type {kind.__name__} through the channel")


def pack_code(code: Any, port: Any, *, name: str) -> Packed:
    """Pickle code to run at the other end."""
    return _packed(code, port, what=f"{name} to the worker")


def unpack_value(packed: Any, port: Any) -> Any:
    """Reverse `pack_value`; short items were sent as they are.

    Raises:
        PicklingError: it cannot be unpickled here; the message has the reason.
    """
    if type(packed) is not Packed:
        return packed
    if type(packed.head) is Unreceived:
        raise PicklingError(explain_unpickling(packed.head.error(), what=ITEM, where="here"))
    if packed.layout == ():
        return bytes(packed.head)
    if packed.layout is None:
        return pickle.loads(packed.head)
    return _unpacked(packed, port, what=ITEM)


def unpack_code(packed: Packed, port: Any) -> Any:
    """Reverse `pack_code`."""
    return _unpacked(packed, port, what="the code for the worker")


def size_of(packed: Packed) -> int:
    """Size counted for an item that is not short, on both sides."""
    simple = not packed.buffers and type(packed.head) is not Unreceived
    return (len(packed.head) if simple else packed.nbytes) + OVERHEAD


def _packed(value: Any, port: Any, *, what: str) -> Packed:
    _way.port, outer = port, _way.port
    try:
        packed = pack_one(value)
    except BaseException as error:
        if may_be_ctrl_c(error):
            raise
        raise PicklingError(explain(value, error, what=what)) from error
    finally:
        _way.port = outer
    if packed.buffers:  # the owner may change them later
        return packed._replace(buffers=[bytearray(buffer) for buffer in packed.buffers])
    return packed


def _unpacked(packed: Packed, port: Any, *, what: str) -> Any:
    _way.port, outer = port, _way.port
    try:
        return unpack_one(packed)
    except BaseException as error:
        if may_be_ctrl_c(error):
            raise
        raise PicklingError(explain_unpickling(error, what=what)) from error
    finally:
        _way.port = outer
