"""Arguments of joblib's tasks as bytes: large arrays that come again are in shared memory.

joblib writes large arrays to files, which workers map.  Here the array that all fits of a search have in
common is copied into shared memory once, also if it is inside a table or a model, and tasks refer to it.
Arrays that map a file already are sent by the file's name, so that workers can write to them.

One array object is taken to be the same in all tasks, as by joblib.  The memory of views, which are others
in each task, is compared with what is shared, because a generator may refill it.
"""

from __future__ import annotations

import io
import os
import pickle
import weakref
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, NamedTuple

from nbpar.wire.pickling import OUT_OF_BAND, Pickler, keeper
from nbpar.wire.shared import Shared

_PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes})


class Sealed(NamedTuple):
    """A task's arguments as bytes, with large buffers beside them."""

    head: bytes
    buffers: tuple[Any, ...]

    def open(self) -> Any:
        """Return the arguments; also where they were sealed."""
        buffers = [getattr(part, "here", part) for part in self.buffers]
        return pickle.loads(self.head, buffers=buffers)


class Sealer:
    """Seals the items of one run.

    Args:
        share: makes a handle of an object for all workers.
        at_least: bytes from which on a buffer is shared that comes again; None: none is.
        writable: workers get copies of shared buffers that they may write to, instead of read-only ones.
        same_host: workers are on this host, and can map the files of `numpy.memmap`.
    """

    def __init__(
        self, share: Callable[[Any], Shared], at_least: int | None, *, writable: bool, same_host: bool
    ) -> None:
        self._share = share
        self._at_least = at_least
        self._writable = writable
        self._same_host = same_host
        self._seen: dict[tuple[int, int], weakref.ref[Any]] = {}
        """The owners of large buffers that have come once, by address and size."""

        self._shared: dict[tuple[int, int], tuple[memoryview, _SharedBuffer]] = {}
        """Those that came again, each with a view that keeps its memory from being used for another."""

    def items(self, items: Sequence[tuple[Any, ...]]) -> Sequence[Any]:
        """Return tasks' items in the form in which they are sent."""
        return items if _are_plain(items) else list(map(self._item, items))

    def _item(self, item: tuple[Any, ...]) -> Any:
        """Return one item; as it is where it cannot be pickled."""
        if _are_plain([item]):
            return item
        buffers: list[memoryview] = []
        out = io.BytesIO()
        try:
            pickler = _pickler_for_files() if self._same_host else Pickler
            pickler(out, 5, buffer_callback=keeper(buffers)).dump(item)
            return Sealed(out.getvalue(), tuple(map(self._buffer, buffers)))
        except Exception:  # noqa: BLE001 (it fails again where items are sent, which tells why)
            return item

    def _buffer(self, raw: memoryview) -> Any:
        """Return a buffer as it is sent."""
        import numpy as np

        array = np.frombuffer(raw, "u1")
        if self._at_least is None or raw.nbytes < max(self._at_least, OUT_OF_BAND):
            return array
        key = _address(array), raw.nbytes
        if key in self._shared:
            first, known = self._shared[key]
            if first.obj is raw.obj or np.array_equal(known.here, array):
                return known
            return self._alone(array.copy())  # the next task may refill it
        owner, seen = _owner_of(raw.obj), self._seen.get(key)
        if owner is None or seen is None or seen() is not owner:
            if owner is not None:
                self._seen[key] = weakref.ref(owner)
            return self._alone(array if owner is raw.obj else array.copy())
        kept = array if owner is raw.obj else array.copy()
        shared = _SharedBuffer(self._share(kept), writable=self._writable)
        self._shared[key] = raw, shared
        return shared

    def _alone(self, array: Any) -> Any:
        """Return the bytes of a buffer that is not shared, as they are sent."""
        return array if self._writable else _ReadOnly(array)


class _ReadOnly:
    """Unpickles to the bytes of an array that cannot be written to, as if it were shared."""

    def __init__(self, array: Any) -> None:
        self.here = array

    def __reduce__(self) -> tuple[Any, ...]:
        return _read_only, (self.here,)


class _SharedBuffer:
    """Unpickles to the bytes of a shared array."""

    def __init__(self, shared: Shared, *, writable: bool) -> None:
        self._shared = shared
        self._writable = writable

    @property
    def here(self) -> Any:
        """The array in this process, which made it."""
        return self._shared.value

    def __reduce__(self) -> tuple[Any, ...]:
        return (_copied if self._writable else getattr), (self._shared, "value")


def _read_only(array: Any) -> Any:
    array.setflags(write=False)
    return array


def _copied(shared: Shared, name: str) -> Any:
    return getattr(shared, name).copy()


def _are_plain(items: Sequence[tuple[Any, ...]]) -> bool:
    """Whether there is nothing in items but plain values, which cost least when pickled together."""
    longest = max(map(len, items))
    if longest > 2 or not _PLAIN.issuperset(map(type, chain.from_iterable(item[0] for item in items))):
        return False
    keywords = () if longest == 1 else (item[1].values() for item in items if len(item) == 2)
    return _PLAIN.issuperset(map(type, chain.from_iterable(keywords)))


def _address(array: Any) -> int:
    return int(array.__array_interface__["data"][0])


def _owner_of(exporter: Any) -> Any:
    """Return the array that owns the memory of another; None if it cannot be referred to weakly."""
    import numpy as np

    while isinstance(base := getattr(exporter, "base", None), np.ndarray):
        exporter = base
    return exporter if isinstance(exporter, np.ndarray) else None


# ---- arrays that map files


class _FilePickler(Pickler):
    """Sends an array that maps a file by the name of the file."""


def _pickler_for_files() -> type[Pickler]:
    import numpy as np

    if np.memmap not in _FilePickler.dispatch_table.maps[0]:
        _FilePickler.dispatch_table = Pickler.dispatch_table.new_child({np.memmap: _reduce_memmap})
    return _FilePickler


def _reduce_memmap(array: Any) -> Any:
    """Reduce an array that maps a file, or a view of one; what computing has made of it is no map."""
    import numpy as np

    file = array
    while isinstance(file.base, np.memmap):
        file = file.base
    filename = file.filename
    if type(file.base).__name__ != "mmap" or filename is None or not os.path.exists(filename):  # noqa: PTH110
        return np.asarray(array).__reduce_ex__(5)
    spans = [(length - 1) * stride for length, stride in zip(array.shape, array.strides, strict=True)]
    before = -sum(span for span in spans if span < 0)
    nbytes = before + sum(span for span in spans if span > 0) + array.itemsize if array.size else 0
    place = file.offset + _address(array) - _address(file) - before
    mode = "r+" if file.mode == "w+" else file.mode
    return map_again, (str(filename), place, nbytes, before, mode, array.dtype, array.shape, array.strides)


def map_again(
    filename: str,
    place: int,
    nbytes: int,
    before: int,
    mode: str,
    dtype: Any,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
) -> Any:
    """Map the part of a file that an array of another process shows, and return that array.

    Args:
        filename: the file.
        place: its first byte that belongs to the array.
        nbytes: number of bytes from there to the end of the array.
        before: number of bytes from there to the array's first element, if strides are negative.
        mode: how the file is mapped: "r", "r+" or "c".
        dtype: the array's.
        shape: the array's.
        strides: the array's.
    """
    import numpy as np

    if not nbytes:
        return np.empty(shape, dtype)
    memory: Any = np.memmap(filename, "u1", mode, place, (nbytes,))  # type: ignore[call-overload]  # a mode
    return np.ndarray.__new__(np.memmap, shape, dtype, memory, before, strides)
