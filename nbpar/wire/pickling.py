"""Turn objects into bytes, each item by itself, large buffers out of band.

Items of built-in types are pickled as one list, which is fastest.  Everything else is pickled
item by item, so that one that cannot be pickled or unpickled harms no other.  Buffers of
arrays travel beside the pickle (protocol 5, PEP 574) and arrive writable.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Sequence
from hashlib import sha256
from itertools import islice
from typing import Any, NamedTuple

from nbpar.wire.pickler import Pickler

OUT_OF_BAND = 1 << 14
"""Buffers of at least so many bytes travel beside the pickle."""


class Packed(NamedTuple):
    """A list of objects as bytes."""

    head: bytes
    """One pickle of them all, or one after another as `layout` says."""

    layout: tuple[tuple[int, int], ...] | None
    """Bytes and out-of-band buffers of each object; None for one pickle of them all."""

    buffers: Any
    """A list of out-of-band buffers, in order; of a function on its way also where they are lodged."""

    @property
    def nbytes(self) -> int:
        """Size of all of it."""
        size = len(self.head)
        return size + sum(memoryview(buffer).nbytes for buffer in self.buffers) if self.buffers else size


def pack(items: Sequence[Any]) -> tuple[Packed, dict[int, Exception]]:
    """Pickle items; those that cannot be are replaced by None and returned with their errors, by place."""
    if (plain := _pack_plain(items)) is not None:
        return Packed(plain, None, []), {}
    if type(items).__module__ == "numpy" and not items.dtype.hasobject:  # type: ignore[attr-defined]
        out_of_band: list[Any] = []
        return Packed(pickle.dumps(items, 5, buffer_callback=keeper(out_of_band)), None, out_of_band), {}
    return _pack_each(items)


def unpack(packed: Packed) -> tuple[Sequence[Any], dict[int, Exception]]:
    """Reverse `pack`; objects that cannot be unpickled are None and returned with their errors, by place."""
    head, layout, buffers = packed
    if layout is None:
        return pickle.loads(head, buffers=buffers), {}
    view = memoryview(head)
    rest = iter(buffers)
    items: list[Any] = []
    errors: dict[int, Exception] = {}
    start = 0
    for size, count in layout:
        own = tuple(islice(rest, count))
        try:
            items.append(pickle.loads(view[start : start + size], buffers=own))
        except Exception as error:  # noqa: BLE001 (any user code may run here)
            errors[len(items)] = error
            items.append(None)
        start += size
    return items, errors


def pack_one(value: Any) -> Packed:
    """Pickle one object; raises what its pickling raises."""
    packed, errors = _pack_each([value])
    if errors:
        raise errors.pop(0)  # an error that its own frames hold would keep the caller's objects
    return packed


def unpack_one(packed: Packed) -> Any:
    """Reverse `pack_one`; raises what unpickling raises."""
    items, errors = unpack(packed)
    if errors:
        raise errors.pop(0)  # likewise
    return items[0]


def digest(packed: Packed) -> bytes:
    """Name content by what it is: 16 bytes of SHA-256, for which most processors have instructions."""
    content = sha256(packed.head, usedforsecurity=False)
    for buffer in packed.buffers:
        content.update(buffer)
    return content.digest()[:16]


class _NotPlain(Exception):  # noqa: N818 (a signal, not an error)
    """Something needs more than the built-in types."""


class _PlainPickler(pickle.Pickler):
    """Pickles built-in types only, each time by value: two items never share a part.

    The pickler asks `reducer_override` about everything it does not know by itself, so plain
    data is recognised and pickled in one go.
    """

    def reducer_override(self, obj: Any) -> Any:  # noqa: ARG002 (whatever it is, it is not plain)
        raise _NotPlain


def _pack_plain(items: Sequence[Any]) -> bytes | None:
    """Pickle items of built-in types, or of NumPy's scalars, as one; None when there are others."""
    kind = type(items)
    if kind in (range, str, bytes):
        return pickle.dumps(items, 5)
    if kind not in (list, tuple):
        return None
    out = io.BytesIO()
    pickler = _PlainPickler(out, 5)
    pickler.fast = True
    try:
        pickler.dump(items)
    except _NotPlain:
        return pickle.dumps(items, 5) if all(map(_numpy_scalar, set(map(type, items)))) else None
    except Exception:  # noqa: BLE001 (nested too deeply, or within itself: item by item then, with a memo)
        return None
    return out.getvalue()


def _numpy_scalar(kind: type) -> bool:
    return kind.__module__ == "numpy" and kind.__name__ not in (
        "ndarray",
        "void",
        "object_",
        "matrix",
        "recarray",
        "record",
    )


def keeper(kept: list[Any], at_least: int = OUT_OF_BAND) -> Callable[[pickle.PickleBuffer], bool]:
    """Return a callback that keeps contiguous buffers of so many bytes out of the pickle."""

    def keep(buffer: pickle.PickleBuffer) -> bool:
        try:
            raw = buffer.raw()
        except BufferError:
            return True  # not contiguous: into the pickle
        if raw.nbytes < at_least:
            return True
        kept.append(raw)
        return False

    return keep


def _pack_each(items: Sequence[Any]) -> tuple[Packed, dict[int, Exception]]:
    buffers: list[Any] = []
    layout: list[tuple[int, int]] = []
    errors: dict[int, Exception] = {}
    out = io.BytesIO()
    pickler = Pickler(out, 5, buffer_callback=keeper(buffers))
    for place, item in enumerate(items):
        start, had = out.tell(), len(buffers)
        try:
            pickler.dump(item)
        except Exception as error:  # noqa: BLE001 (any user code may run here)
            errors[place] = error
            del buffers[had:]
            out.seek(start)
            out.truncate()
            pickler = Pickler(out, 5, buffer_callback=keeper(buffers))
            pickler.dump(None)
        pickler.clear_memo()
        layout.append((out.tell() - start, len(buffers) - had))
    return Packed(out.getvalue(), tuple(layout), buffers), errors
