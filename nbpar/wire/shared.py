"""An object that each worker has once, however many functions and items refer to it."""

from __future__ import annotations

import os
import pickle
import weakref
from collections import OrderedDict
from contextlib import suppress
from pickle import PickleBuffer
from typing import Any

import cloudpickle

from nbpar.wire.lodging import CAN_LODGE, Lodged, Lodging, NotLodgedError
from nbpar.wire.pickling import keeper

KEPT = 8
"""Shared objects that a worker keeps although nothing refers to them just now."""


class Shared:
    """What `Pool.share` returns: capture it, or send it as an item, and use its `value`.

    On engines of this host arrays are in memory once for all of them; they are read-only there.
    The memory is given back when nothing refers to this any more and the workers have been let go,
    a second after the last run.

    Attributes:
        value: the object; on a worker a copy of it as it was when it was shared.
    """

    def __init__(self, value: Any, *, lodge: bool = False) -> None:
        self.value = value
        self._lodge = lodge and CAN_LODGE
        self._name = os.urandom(12).hex()
        self._contents: Any = None
        _own[self._name] = self

    def pack(self) -> None:
        """Make bytes of it, once; raises what pickling raises."""
        if self._contents is not None:
            return
        buffers: list[Any] = []
        head = cloudpickle.dumps(self.value, 5, buffer_callback=keeper(buffers, at_least=0))
        self._contents = [head, *buffers]
        if self._lodge:
            with suppress(OSError):  # no memory for it: it travels
                lodging = Lodging(self._contents)
                weakref.finalize(self, lodging.close)
                self._contents = lodging.lodged

    def __reduce__(self) -> tuple[Any, ...]:
        self.pack()
        contents = self._contents
        if not isinstance(contents, Lodged):
            contents = [PickleBuffer(part) for part in contents]
        return arrive, (self._name, contents)

    def __repr__(self) -> str:
        return f"<nbpar.Shared {type(self.value).__name__}>"


_own: weakref.WeakValueDictionary[str, Shared] = weakref.WeakValueDictionary()
"""What this process has shared."""

_arrived: OrderedDict[str, Shared] = OrderedDict()
"""What it has got from others, lately."""


def arrive(name: str, contents: Any) -> Shared:
    """Return the shared object of this name, which is loaded if it is not here yet.

    Raises:
        ReferenceError: it is not there any more.
    """
    if (own := _own.get(name)) is not None:
        return own
    if name not in _arrived:
        _arrived[name] = _load(name, contents)
    _arrived.move_to_end(name)
    while len(_arrived) > KEPT:
        _arrived.popitem(last=False)
    return _arrived[name]


def forget_arrived() -> None:
    """Let go of what others have shared."""
    _arrived.clear()


def _load(name: str, contents: Any) -> Shared:
    try:
        parts = contents.buffers(writable=False) if isinstance(contents, Lodged) else contents
    except NotLodgedError as error:
        raise ReferenceError(
            "a shared object is not there any more: keep what pool.share(...) returned while workers use it"
        ) from error
    shared = Shared.__new__(Shared)
    head, *buffers = [memoryview(part).toreadonly() for part in parts]
    shared.value = pickle.loads(head, buffers=buffers)
    shared._name, shared._contents = name, contents  # noqa: SLF001 (made here)
    return shared
