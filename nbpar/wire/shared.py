"""`Pool.share`: an object that each worker has once, for all functions and items."""

from __future__ import annotations

import os
import pickle
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pickle import PickleBuffer
from typing import Any

from nbpar.wire.pickling import dumps, keeper
from nbpar.wire.shared_memory import CAN_LODGE, WORTH, Mapped, NotMappedError, SharedBuffers

GONE = "a shared object is not there any more: keep what pool.share(...) returned while workers use it"

KEPT = 8
"""Number of shared objects that a worker keeps without current references."""


class Shared:
    """A handle to a shared object: capture it, or send it as an item, and use its `value`.

    On engines of this host arrays are in shared memory; they are read-only there.
    The memory is freed when the handle is deleted and the workers have been released,
    a second after the last run.

    Args:
        value: the object.
        lodge: put its arrays into shared memory.
        ask: if it is large, send its name alone; the workers ask for the rest once.

    Attributes:
        value: the object; on a worker a copy of it as it was when it was shared.
    """

    def __init__(self, value: Any, *, lodge: bool = False, ask: bool = False) -> None:
        self.value = value
        self._by_name = ask
        """Whether its name alone is sent; its size decides that when it is packed."""

        self._lodge = lodge and CAN_LODGE
        self._name = os.urandom(12).hex()
        self._contents: Any = None
        _own[self._name] = self

    def pack(self) -> None:
        """Serialize it, once; errors of pickling propagate."""
        if self._contents is not None:
            return
        buffers: list[Any] = []
        head = dumps(self.value, buffer_callback=keeper(buffers, at_least=0))
        self._contents = [head, *buffers]
        if self._by_name:
            self._by_name = sum(map(len, self._contents)) >= WORTH
            self._contents = [bytes(part) for part in self._contents]  # they are asked for later
        if self._lodge:
            with suppress(OSError):  # no shared memory for it: it is sent
                lodging = SharedBuffers(self._contents)
                weakref.finalize(self, lodging.close)
                self._contents = lodging.lodged

    def __reduce__(self) -> tuple[Any, ...]:
        self.pack()
        contents = self._contents
        if not isinstance(contents, Mapped):
            contents = None if self._by_name else [PickleBuffer(part) for part in contents]
        return arrive, (self._name, contents)

    def __repr__(self) -> str:
        return f"<nbpar.Shared {type(self.value).__name__}>"


_own: weakref.WeakValueDictionary[str, Shared] = weakref.WeakValueDictionary()
"""Objects that this process has shared."""

_arrived: OrderedDict[str, Shared] = OrderedDict()
"""Objects recently received from others."""


Ask = Callable[[bytes], "Sequence[Any] | None"]
"""Returns the parts of an object by its name; None if it does not exist any more."""

_ask: Ask | None = None
"""Asks the client of this worker; None where nobody can be asked."""


@contextmanager
def asking_for_shared(ask: Ask) -> Iterator[None]:
    """Let objects that come by name alone be asked for in this block."""
    global _ask  # noqa: PLW0603 (there is one client at a time)
    _ask = ask
    try:
        yield
    finally:
        _ask = None


def parts_of(name: bytes) -> Any:
    """Return what an object that this process has shared consists of, or its place; None if it is gone."""
    own = _own.get(name.decode("ascii", "replace"))
    return None if own is None else own._contents  # noqa: SLF001 (of this module)


def arrive(name: str, contents: Any) -> Shared:
    """Return the shared object of this name, loading it on first use.

    Args:
        name: its name.
        contents: its parts, or their place; None: the one who has shared it must be asked.

    Raises:
        ReferenceError: it no longer exists.
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
    """Release objects shared by others."""
    _arrived.clear()


def _load(name: str, contents: Any) -> Shared:
    if contents is None and _ask is not None:
        contents = _ask(name.encode())
    try:
        parts = contents.buffers(writable=False) if isinstance(contents, Mapped) else contents
    except NotMappedError as error:
        raise ReferenceError(GONE) from error
    if parts is None:
        raise ReferenceError(GONE)
    shared = Shared.__new__(Shared)
    shared._by_name = False  # noqa: SLF001 (made here)
    head, *buffers = [memoryview(part).toreadonly() for part in parts]
    shared.value = pickle.loads(head, buffers=buffers)
    shared._name, shared._contents = name, contents  # noqa: SLF001 (made here)
    return shared
