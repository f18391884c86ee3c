"""Serialize objects: items together or each by itself, large buffers out of band (pickle protocol 5).

Items of built-in types, small arrays and objects of plain classes are pickled as one list, which is
fastest, where they share nothing.  Other items are pickled one by one, so that one that cannot be pickled
or unpickled does not affect others.  Buffers of arrays are sent out of band (protocol 5, PEP 574).
An array arrives writable or read-only, as it was.
"""

from __future__ import annotations

import functools
import io
import pickle
import sys
from collections import ChainMap
from collections.abc import Callable, MutableMapping, Sequence
from hashlib import sha256
from itertools import islice
from types import CodeType
from typing import Any, NamedTuple

import cloudpickle

from nbpar.wire.columns import columns_of
from nbpar.wire.independence import are_writable, independent, numpy_scalar, trees
from nbpar.wire.large_bytes import are_likely, with_stand_ins
from nbpar.wire.stacking import Stack, can_be_stacked


def with_cache(function: Callable[..., Any], maxsize: int | None, typed: bool) -> Callable[..., Any]:
    """Return a cached version of a function."""
    return functools.lru_cache(maxsize, typed)(function)


def _reduce_cached(cached: Any) -> str | tuple[Any, ...]:
    if importable(cached):
        return str(cached.__qualname__)
    parameters = cached.cache_parameters()
    return with_cache, (cached.__wrapped__, parameters["maxsize"], parameters["typed"])


def importable(thing: Any) -> bool:
    """Whether a function or class has a name in a module that the other side imports."""
    module = thing.__module__
    sent = cloudpickle.list_registry_pickle_by_value()
    if module in (None, "__main__") or any(f"{module}.".startswith(f"{name}.") for name in sent):
        return False
    found: Any = sys.modules.get(module)
    for name in thing.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is thing


def code_in_file(make: Callable[..., CodeType], args: tuple[Any, ...], filename: str) -> CodeType:
    """Return the code object made by cloudpickle's reduction, with its own file name."""
    return make(*args).replace(co_filename=filename)


_reduce_code = cloudpickle.Pickler.dispatch_table[CodeType]


def _reduce_code_in_file(code: CodeType) -> tuple[Any, ...]:
    make, args = _reduce_code(code)[:2]
    return code_in_file, (make, args, code.co_filename)


class Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle has no types
    """Pickles like cloudpickle, with the differences in the module's docstring."""

    dispatch_table = cloudpickle.Pickler.dispatch_table.new_child(
        {type(functools.lru_cache(importable)): _reduce_cached, CodeType: _reduce_code_in_file}
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        table = type(self).dispatch_table
        if "multiprocessing.connection" in sys.modules:
            _learn_connections(table)
        self.dispatch_table = _flat(table)
        super().__init__(*args, **kwargs)


def _flat(table: ChainMap[type, Any]) -> dict[type, Any]:
    """Return a copy of the table that C code looks up without calling Python code."""
    flat: dict[type, Any] = {}
    for part in reversed(table.maps):
        flat.update(part)
    return flat


def _learn_connections(table: MutableMapping[type, Any]) -> None:
    """Add the reductions of connections, which multiprocessing does not publish."""
    from multiprocessing.connection import Connection

    if Connection not in table:
        from multiprocessing.reduction import ForkingPickler

        own = ForkingPickler._extra_reducers.items()  # type: ignore[attr-defined]  # noqa: SLF001 (there is no public way)
        table.update({kind: reduce for kind, reduce in own if kind.__module__ == Connection.__module__})


SMALL_ARRAYS = 4
"""Protocol of which arrays that are not sent out of band are made in half the time, all of them writable."""


def dumps(obj: Any, buffer_callback: Callable[[Any], Any] | None = None, protocol: int = 5) -> bytes:
    """Pickle one object with `Pickler`.

    Raises:
        Exception: any error of pickling.
    """
    out = io.BytesIO()
    Pickler(out, protocol, buffer_callback=buffer_callback).dump(obj)
    return out.getvalue()


OUT_OF_BAND = 1 << 14
"""Minimal size in bytes of a buffer sent out of band."""


class Unreceived(bytes):
    """Stands for a frame that was read and dropped, because there was no memory for it."""

    size = 0

    @classmethod
    def of(cls, size: int) -> Unreceived:
        """Return what stands for a frame of this size."""
        frame = cls()
        frame.size = size
        return frame

    def error(self) -> MemoryError:
        """Return what is raised where its content is wanted."""
        return MemoryError(f"{self.size / 1e6:,.0f} MB arrived")


class Copied(NamedTuple):
    """A received buffer that several items have in common: each gets a copy."""

    buffer: Any


def _nbytes(frame: Any) -> int:
    return frame.size if type(frame) is Unreceived else memoryview(frame).nbytes


class Packed(NamedTuple):
    """A list of objects as bytes."""

    head: bytes
    """One pickle of all objects, or several, as `layout` says."""

    layout: tuple[tuple[int, int], ...] | None
    """Bytes and out-of-band buffers of each object; None for one pickle of all."""

    buffers: Any
    """A list of out-of-band buffers, in order; of a function in transit also their place in shared memory."""

    number: int = 0
    """Number of objects in one pickle of all."""

    @property
    def nbytes(self) -> int:
        """Its total size."""
        size = _nbytes(self.head) if type(self.head) is Unreceived else len(self.head)
        return size + sum(map(_nbytes, self.buffers)) if self.buffers else size

    @property
    def received(self) -> bool:
        """Whether all of it fitted into memory where it arrived."""
        return type(self.head) is not Unreceived and Unreceived not in map(type, self.buffers)


class Snapshot(NamedTuple):
    """An object as it was when it was pickled, among objects that are packed."""

    head: bytes
    """Its pickle."""

    buffers: Sequence[Any]
    """Its out-of-band buffers, copied."""


def snapshot(value: Any) -> Any:
    """Return a snapshot of an object; the object itself, if it cannot be pickled: sending it tells why."""
    try:
        return _snapshots.pop().of(value)
    except IndexError:  # it has none, or another thread takes one
        return _Snapshots().of(value)


class _Snapshots:
    """A pickler for one object after the other."""

    def __init__(self) -> None:
        self._out = io.BytesIO()
        self._buffers: list[Any] = []
        self._pickler = Pickler(self._out, 5, buffer_callback=keeper(self._buffers))

    def of(self, value: Any) -> Any:
        try:
            self._pickler.dump(value)
        except BaseException:  # noqa: BLE001 (any user code may run here)
            return value
        self._pickler.clear_memo()
        made = Snapshot(self._out.getvalue(), list(map(bytearray, self._buffers)))
        self._out.seek(0)
        self._out.truncate()
        self._buffers.clear()
        _snapshots[:] = [self]
        return made


_snapshots: list[_Snapshots] = []
"""One that is not in use."""


def pack(items: Sequence[Any], *, instances: bool = True) -> tuple[Packed, dict[int, BaseException]]:
    """Pickle items; those that fail are replaced by None and returned with their errors, by position.

    Never raises, even if the items' own code does.  Without `instances` the user's objects are pickled
    one by one also where they could be pickled together.
    """
    try:
        packed = _pack_together_if_possible(items, instances)
        return (packed, {}) if packed is not None else _pack_each(items)
    except BaseException as error:  # noqa: BLE001 (there is no memory for all of them together)
        nothing = pickle.dumps([None] * len(items), 5)
        return Packed(nothing, None, [], len(items)), dict.fromkeys(range(len(items)), _freed(error))


def _pack_together_if_possible(items: Sequence[Any], instances: bool) -> Packed | None:
    try:
        return _pack_together(items, instances)
    except BaseException:  # noqa: BLE001 (of one of them, or nested too deeply: item by item then)
        return None


def _pack_together(items: Sequence[Any], instances: bool) -> Packed | None:
    """Pickle items as one, if that makes no difference to them."""
    kind = type(items)
    if kind in (range, str, bytes):
        return Packed(pickle.dumps(items, 5), None, [], len(items))
    if kind.__module__ == "numpy" and not items.dtype.hasobject:  # type: ignore[attr-defined]
        out_of_band: list[Any] = []
        head = pickle.dumps(items, 5, buffer_callback=keeper(out_of_band))
        return Packed(head, None, out_of_band, len(items))
    if kind not in (list, tuple) or are_likely(items):
        return None
    try:
        return Packed(_plain(items), None, [], len(items))
    except _NotPlain:
        return _pack_stack(items) if can_be_stacked(items, OUT_OF_BAND) else _pack_bulk(items, instances)


def _pack_stack(arrays: Sequence[Any]) -> Packed:
    buffers: list[Any] = []
    return Packed(dumps(Stack(arrays), keeper(buffers)), None, buffers, len(arrays))


def _pack_bulk(items: Sequence[Any], instances: bool) -> Packed | None:
    """Pickle items as one, if they are independent and have no large arrays, or None."""
    if len(items) < 2:
        return None
    buffers: list[Any] = []
    what: Any = items
    keep: Any = None
    arrays: list[Any] = []
    protocol = SMALL_ARRAYS
    if columns := columns_of(items, smaller_than=OUT_OF_BAND, instances=instances):
        what, keep, protocol = columns, keeper(buffers), 5
    elif not independent(items, smaller_than=OUT_OF_BAND, instances=instances, arrays=arrays):
        return None
    elif not are_writable(arrays):
        protocol = 5
    quick = importable(type(items[0]))  # there is nothing else in them that could need cloudpickle
    head = pickle.dumps(what, protocol, buffer_callback=keep) if quick else dumps(what, keep, protocol)
    return Packed(head, None, buffers, len(items))


def pack_apart(items: Sequence[Any]) -> Packed | None:
    """Pickle each item separately, also plain ones; None if one of them cannot be pickled."""
    packed, errors = _pack_each(items)
    return None if errors else packed


def unpack(packed: Packed) -> tuple[Sequence[Any], dict[int, BaseException]]:
    """Reverse `pack`; objects that cannot be unpickled are None and returned with their errors, by position.

    Never raises, even if the objects' own code does.
    """
    head, layout, buffers, together = packed
    if type(head) is Unreceived:
        number = together if layout is None else len(layout)
        return [None] * number, dict.fromkeys(range(number), head.error())
    if layout is None:
        try:
            return pickle.loads(head, buffers=arrived(buffers)), {}
        except BaseException as error:  # noqa: BLE001 (there is no memory for all of them)
            return [None] * together, dict.fromkeys(range(together), _freed(error))
    view = memoryview(head)
    rest = iter(buffers)
    items: list[Any] = []
    errors: dict[int, BaseException] = {}
    start = 0
    for size, number in layout:
        own = tuple(islice(rest, number))
        try:
            items.append(pickle.loads(view[start : start + size], buffers=arrived(own) if own else own))
        except BaseException as error:  # noqa: BLE001 (any user code may run here)
            errors[len(items)] = error
            items.append(None)
        start += size
    return items, errors


def arrived(buffers: Sequence[Any]) -> Sequence[Any]:
    """Return received buffers for one object.

    Raises:
        MemoryError: there was no memory for one of them.
    """
    for buffer in buffers:
        if type(buffer) is Unreceived:
            raise buffer.error()
    if Copied in map(type, buffers):
        return [bytearray(buffer.buffer) if type(buffer) is Copied else buffer for buffer in buffers]
    return buffers


def _freed(error: BaseException) -> BaseException:
    """Return an error without its frames, whose variables occupy memory."""
    return error.with_traceback(None)


def pack_one(value: Any) -> Packed:
    """Pickle one object; errors of pickling propagate."""
    packed, errors = _pack_each([value])
    if errors:
        raise errors.pop(0)  # an error referenced by its own frames would keep the caller's objects alive
    return packed


def unpack_one(packed: Packed) -> Any:
    """Reverse `pack_one`; errors of unpickling propagate."""
    items, errors = unpack(packed)
    if errors:
        raise errors.pop(0)  # likewise
    return items[0]


def digest(packed: Packed) -> bytes:
    """Return an identifier of content: 16 bytes of SHA-256, for which most processors have instructions."""
    content = sha256(packed.head, usedforsecurity=False)
    for buffer in packed.buffers:
        content.update(buffer)
    return content.digest()[:16]


class _NotPlain(Exception):  # noqa: N818 (a signal, not an error)
    """An object is not of the built-in types."""


class _PlainPickler(pickle.Pickler):
    """Pickles built-in types only, each time by value: two items never share a part.

    The pickler calls `reducer_override` for all objects but plain ones, so plain
    data is detected and pickled in one pass.
    """

    def reducer_override(self, obj: Any) -> Any:  # noqa: ARG002 (whatever it is, it is not plain)
        raise _NotPlain


def _plain(items: Sequence[Any]) -> bytes:
    """Pickle items of built-in types, or of NumPy's scalars, as one.

    Raises:
        _NotPlain: there are others.
        ValueError: an item has a part twice.
    """
    out = io.BytesIO()
    pickler = _PlainPickler(out, 5)
    pickler.fast = True
    try:
        pickler.dump(items)
    except _NotPlain:
        if not all(map(numpy_scalar, set(map(type, items)))):
            raise
        return pickle.dumps(items, 5)
    if not trees(items):
        raise ValueError
    return out.getvalue()


def keeper(kept: list[Any], at_least: int = OUT_OF_BAND) -> Callable[[pickle.PickleBuffer], bool]:
    """Return a callback that keeps buffers of at least this size out of the pickle.

    The pickler calls it with contiguous ones only.
    """

    def keep(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes < at_least:
            return True
        kept.append(raw)
        return False

    return keep


def _pack_each(items: Sequence[Any]) -> tuple[Packed, dict[int, BaseException]]:
    buffers: list[Any] = []
    layout: list[tuple[int, int]] = []
    errors: dict[int, BaseException] = {}
    apart = are_likely(items)
    out = io.BytesIO()
    pickler = Pickler(out, 5, buffer_callback=keeper(buffers))
    for place, item in enumerate(items):
        start, had = out.tell(), len(buffers)
        if type(item) is Snapshot:
            out.write(item.head)
            buffers += item.buffers
            layout.append((len(item.head), len(item.buffers)))
            continue
        try:
            pickler.dump(with_stand_ins(item) if apart else item)
        except BaseException as error:  # noqa: BLE001 (any user code may run here)
            errors[place] = error
            del buffers[had:]
            out.seek(start)
            out.truncate()
            pickler = Pickler(out, 5, buffer_callback=keeper(buffers))
            pickler.dump(None)
        pickler.clear_memo()
        layout.append((out.tell() - start, len(buffers) - had))
    return Packed(out.getvalue(), tuple(layout), buffers), errors
