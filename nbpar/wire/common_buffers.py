"""Recognize large buffers that are in many items, so that their bytes are sent once.

An array that is an argument of each item is pickled with each: as a buffer of the same size at the same
place in memory.  That it still holds the same bytes is not assumed but looked at: a buffer that was seen
before is copied, workers get the copy, and later buffers in its place are compared with it, which takes a
fraction of the time of sending them.  So a buffer may hold something else in a later item.  (A generator
must not refill the array that it has just given: items are read before they are pickled, and sent later.)
A run over a list is settled: the items were there when it began.  There a buffer is compared once, as
long as the object that owns it lives, so it arrives as it was then, as if the function had captured it.
"""

from __future__ import annotations

import sys
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from typing import Any, NamedTuple

from nbpar.wire.messages import Call
from nbpar.wire.pickling import Copied, Packed, Unreceived
from nbpar.wire.shared_memory import CAN_LODGE, WORTH, Mapped, SharedBuffers

PLACES = 1024
"""Number of buffers that are remembered to be recognized."""

UNUSED = 256
"""Number of buffers after which the copy of one that was not among them may be dropped."""

_SAMPLES, _SAMPLE = 16, 64
"""Number of samples of a buffer, by which it is found to be worth a copy, and bytes of each."""

_STEP = 1 << 18
"""Bytes that are compared at once."""


class Kept(NamedTuple):
    """Stands for a buffer that the worker has received before."""

    key: int


class CommonBuffer:
    """A copy of a buffer that is in several items.

    It is in shared memory, if there is any, as long as it is referenced.

    Args:
        key: its number.
        buffer: what is copied.
        run: the settled run that it was found in, if any.

    Attributes:
        key: its number.
        content: its bytes.
        lodged: its place in shared memory, if it is there.
    """

    def __init__(self, key: int, buffer: memoryview, run: int | None = None) -> None:
        self.key = key
        self._owner = _owner(buffer)
        self._run = run
        self.lodged: Mapped | None = None
        self.content: Any = None
        if CAN_LODGE:
            try:
                shared = SharedBuffers([buffer])
                weakref.finalize(self, shared.close)
                [self.content] = shared.lodged.buffers(writable=False)
                self.lodged = shared.lodged
            except OSError:  # no shared memory for it, or no descriptor
                pass
        if self.lodged is None:
            self.content = memoryview(bytearray(buffer))

    def stands_for(self, buffer: memoryview, run: int | None) -> bool:
        """Whether a buffer in the place of the one that was copied holds the same bytes."""
        if run is not None and run == self._run and self._owner() is _owner(buffer)():
            return True
        self._run, self._owner = run, _owner(buffer)
        return self._equals(buffer)

    def _equals(self, buffer: memoryview) -> bool:
        mine = self.content
        return all(
            bytearray(buffer[start : start + _STEP]) == mine[start : start + _STEP]
            for start in range(0, len(buffer), _STEP)
        )


class CommonBuffers:
    """The buffers that were seen lately in items, for all workers of a pool.

    Args:
        fits: returns whether a copy of a given size fits into memory.
    """

    def __init__(self, fits: Callable[[int], bool] = lambda _: True) -> None:
        self._fits = fits
        self._seen: OrderedDict[tuple[int, int], tuple[int, bytes]] = OrderedDict()
        """The run in which a buffer was seen last, and samples of it, by place and size."""

        self._kept: OrderedDict[tuple[int, int], tuple[CommonBuffer, int]] = OrderedDict()
        """Copies of buffers, and when they were last used."""

        self._keys = count()
        self._looked = 0

    def among(
        self, buffers: Sequence[Any], run: int = 0, *, settled: bool = False, again: bool = False
    ) -> list[CommonBuffer | None]:
        """Return for each buffer of items the copy to be used in its stead, or None where it is to be sent.

        What is in different items of a run is copied; what is in one item each of several runs is not, nor
        what is in an item that is sent `again`.
        """
        places = [_place(buffer) for buffer in buffers]
        found: dict[tuple[int, int], CommonBuffer | None] = {}
        for place, buffer in zip(places, buffers, strict=True):
            if place is not None and place not in found:
                view = memoryview(buffer).cast("B")
                known = self._known(place, view, run if settled else None)
                if known is None and not again:
                    known = self._look(place, view, run, settled=settled, repeated=places.count(place) > 1)
                found[place] = known
        return [found.get(place) if place is not None else None for place in places]

    def current(self) -> Iterable[CommonBuffer]:
        """Return the copies that may be used again."""
        return [copy for copy, _ in self._kept.values()]

    def clear(self) -> None:
        """Drop all."""
        self._seen.clear()
        self._kept.clear()

    def _known(self, place: tuple[int, int], buffer: memoryview, settled: int | None) -> CommonBuffer | None:
        self._looked += 1
        if (known := self._kept.pop(place, None)) is not None and known[0].stands_for(buffer, settled):
            self._kept[place] = known[0], self._looked
            return known[0]
        return None

    def _look(
        self, place: tuple[int, int], buffer: memoryview, run: int, *, settled: bool, repeated: bool
    ) -> CommonBuffer | None:
        now, before = (run, _sample(buffer)), self._seen.pop(place, None)
        if (repeated or now == before) and (copy := self._copy(buffer, run if settled else None)) is not None:
            self._kept[place] = copy, self._looked
            return copy
        self._seen[place] = now
        while len(self._seen) > PLACES:
            self._seen.popitem(last=False)
        return None

    def _copy(self, buffer: memoryview, run: int | None) -> CommonBuffer | None:
        """Copy a buffer if memory allows."""
        while self._kept:
            place, (_, used) = next(iter(self._kept.items()))
            if self._looked - used <= UNUSED:
                break
            del self._kept[place]
        kept = sum(len(copy.content) for copy in self.current())
        try:
            return CommonBuffer(next(self._keys), buffer, run) if self._fits(len(buffer) + kept) else None
        except MemoryError:
            return None


def _place(buffer: Any) -> tuple[int, int] | None:
    """Return where a buffer is in memory, and its size; None for one that is not large."""
    size = memoryview(buffer).nbytes
    if size < WORTH:
        return None
    if (numpy := sys.modules.get("numpy")) is not None:
        address: int = numpy.frombuffer(buffer, "u1").__array_interface__["data"][0]
        return address, size
    return id(memoryview(buffer).obj), size


def _owner(buffer: memoryview) -> Callable[[], Any]:
    """Return a reference to the object whose memory a buffer is; it gives an object only while that lives."""
    owner: Any = buffer.obj
    while (base := getattr(owner, "base", None)) is not None and type(base) is type(owner):
        owner = base  # views of an array come and go
    try:
        return weakref.ref(owner)
    except TypeError:
        return object  # a new one each time: it is never the same


def _sample(buffer: memoryview) -> bytes:
    step = len(buffer) // _SAMPLES
    return b"".join(buffer[start : start + _SAMPLE] for start in range(0, len(buffer), step))


def with_kept(call: Call, kept: dict[int, Any]) -> Call:
    """Return a call with buffers that were received before in place of their keys."""
    body = call.items
    if type(body) is not Packed or Kept not in map(type, body.buffers):
        return call
    buffers = [_received(kept[buffer.key]) if type(buffer) is Kept else buffer for buffer in body.buffers]
    return call._replace(items=body._replace(buffers=buffers))


def _received(buffer: Any) -> Any:
    return buffer if type(buffer) is Unreceived else Copied(buffer)


def mapped(buffers: Sequence[Any]) -> list[Any]:
    """Return received buffers, with those in shared memory mapped for each item by itself.

    Raises:
        NotMappedError: that cannot be done here.
    """
    return [buffer.buffers(writable=True)[0] if type(buffer) is Mapped else buffer for buffer in buffers]
