"""Pickle messages to an engine and unpickle the values of its outcomes.

A value that cannot be pickled or unpickled fails alone.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from nbpar.core.call_style import CallStyle
from nbpar.errors import PicklingError
from nbpar.wire.diagnosis.explain import explain, explain_unpickling
from nbpar.wire.faults import Fault, describe
from nbpar.wire.messages import Call, Done, Load, Message, Missing
from nbpar.wire.packed_items import PackedItems, SentItems, UnreadableItem
from nbpar.wire.pickling import Packed, pack, pack_one, unpack
from nbpar.wire.shared_memory import CAN_LODGE, WORTH, SharedBuffers

FUNCTIONS = 8
"""Number of functions whose arrays are kept; a worker that needs another's requests it again."""


LARGE = 1 << 16
"""Size in bytes from which also plain items are kept pickled until they are answered."""


class SharedBufferCache:
    """Buffers recently put into shared memory."""

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, SharedBuffers] = OrderedDict()

    def lodged(self, load: Load) -> Load:
        """Return the function with large buffers in shared memory; otherwise unchanged."""
        buffers = load.function.buffers
        if not CAN_LODGE or sum(map(len, buffers)) < WORTH:
            return load
        if load.digest not in self._kept:
            try:
                self._kept[load.digest] = SharedBuffers(buffers)
            except OSError:
                return load  # no shared memory for it: send it
        self._kept.move_to_end(load.digest)
        while len(self._kept) > FUNCTIONS:
            self._kept.popitem(last=False)[1].close()
        return load._replace(function=load.function._replace(buffers=self._kept[load.digest].lodged))

    def clear(self) -> None:
        """Release all."""
        while self._kept:
            self._kept.popitem()[1].close()


class Packing:
    """Packs and unpacks for one engine, and adds the time for that to each outcome.

    Args:
        kept: calls whose values stay packed, since they only pass through this process.
        pickled: gets the calls whose pickled items are worth keeping until they are answered.
        lodgings: large arrays of functions, for all engines of this host.
        offer: returns functions without large arrays, for engines that share them on another host.
    """

    def __init__(
        self,
        kept: set[int],
        pickled: list[tuple[int, Packed]],
        lodgings: SharedBufferCache,
        offer: Callable[[Load], Load],
    ) -> None:
        self._kept = kept
        self._pickled = pickled
        self._lodgings = lodgings
        self._offer = offer
        self._refused: set[bytes] = set()
        """Functions whose shared memory the engine could not open."""

        self._sent: dict[int, tuple[int, float]] = {}
        """Bytes sent and the seconds it took to pickle them, by call."""

    def packed(self, message: Message, *, local: bool, shares: bool = False) -> Message:
        """Return a message in the form sent to the engine.

        Args:
            message: the message.
            local: the engine is on this host.
            shares: it shares buffers with others on another host.
        """
        if isinstance(message, Call):
            return self._call(message)
        if isinstance(message, Load) and (local or shares) and message.digest not in self._refused:
            return self._lodgings.lodged(message) if local else self._offer(message)
        return message

    def unpacked(self, message: Message) -> Message:
        """Return a message of the engine with its values."""
        if isinstance(message, Done):
            return self._done(message)
        if isinstance(message, Missing):
            self._refused.add(message.digest)  # the next time it is sent whole
        return message

    def _call(self, call: Call) -> Call:
        """Return the call with pickled items, and faults for those that cannot be pickled."""
        if isinstance(call.items, (PackedItems, SentItems)):
            self._sent[call.id] = (call.items.packed.nbytes, 0.0)
            return call._replace(items=call.items.packed)
        began = time.perf_counter()
        body, errors = pack(call.items)
        self._sent[call.id] = (body.nbytes, time.perf_counter() - began)
        if body.layout is not None:
            errors |= _unreadable(call.items)
        if not errors:
            if body.layout is not None or body.nbytes >= LARGE:
                self._pickled.append((call.id, body))
            return Call(*call[:-1], body)
        broken = {place: _fault(_refusal(call, place, error)) for place, error in errors.items()}
        return call._replace(items=body, broken={**call.broken, **broken})

    def _done(self, done: Done) -> Done:
        """Return the outcomes with their values, and with faults for those that cannot be unpickled."""
        moved, seconds = self._sent.pop(done.id, (0, 0.0)) if done.final else (0, 0.0)
        moved += done.values.nbytes
        kept = self._is_kept(done) and done.values.layout is not None  # plain values are unpickled as fast
        if kept and done.values.received:
            return Done(*done[:-3], (*done.costs[:-1], seconds), moved, PackedItems(done.values))
        began = time.perf_counter()
        values, errors = unpack(done.values)
        costs = (*done.costs[:-1], seconds + time.perf_counter() - began)
        if not errors:
            return Done(*done[:-3], costs, moved, values)
        faults = {
            place: _fault(
                explain_unpickling(error, what=f"the result of item {done.first + place}", where="here")
            )
            for place, error in errors.items()
        }
        return done._replace(values=values, faults={**done.faults, **faults}, costs=costs, moved=moved)

    def _is_kept(self, done: Done) -> bool:
        kept = done.id in self._kept
        if kept and done.final:
            self._kept.discard(done.id)
        return kept


def _unreadable(items: Any) -> dict[int, BaseException]:
    """Return why items from another stage could not be unpickled here, by position."""
    return {
        place: PicklingError(item.reason) for place, item in enumerate(items) if type(item) is UnreadableItem
    }


def _refusal(call: Call, place: int, error: BaseException) -> str:
    """Explain why an item cannot be sent; for a single call, which argument is the cause."""
    item = call.items[place]
    if type(item) is UnreadableItem:
        return f"cannot load item {call.first + place} here, where it only passes through: {item.reason}"
    if call.spread == CallStyle.CALL:
        args, keywords = item
        named = {
            **{f"argument {at}": value for at, value in enumerate(args, 1)},
            **{f"argument `{name}`": value for name, value in keywords.items()},
        }
        for name, value in named.items():
            try:
                pack_one(value)
            except BaseException as reason:  # noqa: BLE001 (any user code may run here; the message has it)
                return explain(value, reason, what=name)
    return explain(item, error, what=f"item {call.first + place}")


def _fault(message: str) -> Fault:
    return describe(PicklingError(message))
