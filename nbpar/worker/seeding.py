"""An independent random stream for each item.

A stream depends only on the run's seed and the item's index, so it is the same for any
number of workers, chunks and attempts and on every backend.  NumPy is used if it is
installed and is never imported for a function that does not use it.
"""

from __future__ import annotations

import importlib.machinery
import operator
import random
import sys
import threading
from contextlib import contextmanager
from contextvars import ContextVar
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

_NUMPY_RANDOM = "numpy.random"


def item_seed(seed: int, index: int) -> int:
    """Return the 128-bit seed of item `index` in a run with this `seed`.

    It is a BLAKE2b digest (RFC 7693) of both numbers, so neighboring seeds and indices give
    independent streams, and it is the same on every machine, Python and NumPy.  Any
    integers are allowed.
    """
    return _derive(seed, index, b"item")


def rng() -> Any:
    """Return the random generator of the current item.

    It is a `numpy.random.Generator` (PCG64) if NumPy is installed, otherwise a
    `random.Random`.  Calls from one item return the same generator, which continues its
    stream.  Items in concurrent threads have one each.  Outside an item of a run
    with a seed, each call returns a fresh generator.

    A thread started by the item may not know its item: pass it the generator.
    """
    stream = _current.get()
    return _generator(None) if stream is None else stream.generator()


@contextmanager
def seeded(seed: int, index: int) -> Iterator[None]:
    """Seed `random`, NumPy's legacy state and `rng` for one item, and restore them afterwards.

    NumPy's legacy state (`numpy.random.rand` and the like) is seeded when `numpy.random` is
    imported, already or by the item itself.

    `random` and the legacy state are global to the process.  If items run in several
    threads they draw from the same two, so results depend on their order; only
    `rng` is then reproducible.  The original states are restored when the last item ends.
    """
    outer = _current.get()
    stream = _ItemStream(seed, index)
    token = _current.set(stream)
    try:
        with _put_back(outer), _numpy_that_comes_late(stream):
            stream.seed_random()
            stream.seed_numpy(sys.modules.get(_NUMPY_RANDOM))
            yield
    finally:
        _current.reset(token)


def give_stream(seed: int, index: int) -> None:
    """Make `rng` the item's generator for the rest of the current context: that of a coroutine.

    `random` and NumPy's legacy state stay as they are: concurrent items draw from the same two.
    """
    _current.set(_ItemStream(seed, index))


@contextmanager
def randomness_kept() -> Iterator[None]:
    """Restore `random` and NumPy's legacy state at the end, once for all items seeded within.

    Saving NumPy's legacy state takes longer than seeding it (70 to 10 microseconds), so a
    worker wraps a chunk in this.
    """
    with _put_back(_current.get()):
        yield


class _ItemStream:
    """The random streams of one item."""

    def __init__(self, seed: int, index: int) -> None:
        self._seed = operator.index(seed)
        self._index = operator.index(index)
        self._generator: Any = None

    def seed_random(self) -> None:
        random.seed(item_seed(self._seed, self._index))

    def seed_numpy(self, numpy_random: Any) -> None:
        """Seed the legacy state; `numpy_random` may be None or only partly imported."""
        if hasattr(numpy_random, "set_state"):
            # A key of its own: `random` is the same Mersenne Twister and would give the same numbers.
            numpy_random.seed(_words(_derive(self._seed, self._index, b"numpy")))

    def generator(self) -> Any:
        if self._generator is None:
            self._generator = _generator(_derive(self._seed, self._index, b"rng"))
        return self._generator


_current: ContextVar[_ItemStream | None] = ContextVar("nbpar_item_stream", default=None)


def _derive(seed: int, index: int, use: bytes) -> int:
    """Mix both numbers; different uses get independent streams."""
    content = f"{operator.index(seed):x}/{operator.index(index):x}".encode()
    return int.from_bytes(blake2b(content, digest_size=16, person=use).digest(), "little")


def _words(seed: int) -> list[int]:
    """Split 128 bits into the 32-bit words for NumPy's legacy seeding."""
    return [seed >> shift & 0xFFFFFFFF for shift in range(0, 128, 32)]


def _generator(seed: int | None) -> Any:
    try:
        import numpy.random
    except ImportError:
        return random.Random(seed)
    return numpy.random.Generator(numpy.random.PCG64(seed))


# ---- the original states


class _States:
    """`random` and NumPy's legacy state at one moment."""

    def __init__(self) -> None:
        self._python = random.getstate()
        numpy_random: Any = sys.modules.get(_NUMPY_RANDOM)
        self._numpy = numpy_random.get_state() if hasattr(numpy_random, "get_state") else None

    def restore(self, outer: _ItemStream | None = None) -> None:
        random.setstate(self._python)
        numpy_random: Any = sys.modules.get(_NUMPY_RANDOM)
        if not hasattr(numpy_random, "set_state"):
            return
        if self._numpy is not None:
            numpy_random.set_state(self._numpy)
        elif outer is not None:  # NumPy was imported in the meantime
            outer.seed_numpy(numpy_random)
        else:
            numpy_random.seed()


class _ProcessState:
    """The states before the first of the current items in all threads.

    An item cannot restore the state it found, which may be another item's.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._items = 0
        self._before: _States | None = None

    def enter(self) -> None:
        with self._lock:
            if self._items == 0:
                self._before = _States()
            self._items += 1

    def leave(self) -> None:
        with self._lock:
            self._items -= 1
            if self._items == 0 and self._before is not None:
                self._before.restore()
                self._before = None


_process = _ProcessState()


@contextmanager
def _put_back(outer: _ItemStream | None) -> Iterator[None]:
    if outer is not None:  # a nested item: it finds the outer one's
        found = _States()
        try:
            yield
        finally:
            found.restore(outer)
        return
    _process.enter()
    try:
        yield
    finally:
        _process.leave()


# ---- NumPy imported by the item itself


class _LateNumpy:
    """Seeds NumPy's legacy state as soon as `numpy.random` has been imported."""

    def __init__(self, stream: _ItemStream) -> None:
        self._stream = stream

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != _NUMPY_RANDOM:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            self._seed_after(spec.loader)
        return spec

    def _seed_after(self, loader: Any) -> None:
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            del loader.exec_module  # once; the module keeps its loader
            execute(module)
            self._stream.seed_numpy(module)

        loader.exec_module = exec_module


@contextmanager
def _numpy_that_comes_late(stream: _ItemStream) -> Iterator[None]:
    if _NUMPY_RANDOM in sys.modules:
        yield
        return
    finder = _LateNumpy(stream)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
