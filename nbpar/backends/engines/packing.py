"""Pickle messages to an engine and unpickle the values of its outcomes.

A value that cannot be pickled or unpickled fails alone.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import Any

from nbpar.core.call_style import CallStyle
from nbpar.errors import PicklingError
from nbpar.wire.common_buffers import CommonBuffer, CommonBuffers, Kept
from nbpar.wire.diagnosis.explain import explain, explain_unpickling
from nbpar.wire.faults import Fault, describe
from nbpar.wire.messages import Begin, Call, Done, Drop, Keep, Load, Message, Missing
from nbpar.wire.packed_items import PackedItems, SentItems, UnreadableItem
from nbpar.wire.pickling import Packed, pack, pack_one, unpack
from nbpar.wire.shared_memory import CAN_LODGE, WORTH, SharedBuffers

FUNCTIONS = 8
"""Number of functions whose arrays are kept; a worker that needs another's requests it again."""


RUNS = 64
"""Number of runs that are remembered as settled; for others more is compared."""

_NOTHING: tuple[int, float, Sequence[CommonBuffer]] = (0, 0.0, ())

LARGE = 1 << 16
"""Size in bytes from which also plain items are kept pickled until they are answered."""


class SharedBufferCache:
    """Buffers for all engines: those of functions, in shared memory, and those that items have in common.

    Args:
        fits: returns whether a buffer of a given size fits into memory.
    """

    def __init__(self, fits: Callable[[int], bool] = lambda _: True) -> None:
        self.common = CommonBuffers(fits)
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
        self.common.clear()
        while self._kept:
            self._kept.popitem()[1].close()


class Packing:
    """Packs and unpacks for one engine, and adds the time for that to each outcome.

    Args:
        kept: calls whose values stay packed, since they only pass through this process.
        pickled: gets the calls whose pickled items are worth keeping until they are answered.
        lodgings: large arrays of functions and items, for all engines.
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

        self._maps = CAN_LODGE
        """Whether the engine can open shared memory, as far as is known."""

        self._has: set[int] = set()
        """Keys of the buffers that the engine keeps."""

        self._settled: deque[int] = deque(maxlen=RUNS)
        """Runs over lists and the like."""

        self._sent: dict[int, tuple[int, float, Sequence[CommonBuffer]]] = {}
        """By call: bytes sent, the seconds it took to pickle them, and what must stay in shared memory."""

    def packed(self, messages: Sequence[Message], *, local: bool, shares: bool = False) -> list[Message]:
        """Return messages in the form sent to the engine.

        Args:
            messages: the messages.
            local: the engine is on this host.
            shares: it shares buffers with others on another host.
        """
        ahead: list[Message] = []
        ready = [self._packed(message, ahead, local=local, shares=shares) for message in messages]
        return [*ahead, *ready, *self._dropped()] if self._has else ready

    def _packed(self, message: Message, ahead: list[Message], *, local: bool, shares: bool) -> Message:
        if isinstance(message, Call):
            return self._call(message, ahead, local=local)
        if isinstance(message, Begin) and message.settled:
            self._settled.append(message.run)
        if isinstance(message, Load) and (local or shares) and message.digest not in self._refused:
            return self._lodgings.lodged(message) if local else self._offer(message)
        return message

    def unpacked(self, message: Message) -> Message:
        """Return a message of the engine with its values."""
        if isinstance(message, Done):
            return self._done(message)
        if isinstance(message, Missing):
            self._refuse(message)
        return message

    def _refuse(self, missing: Missing) -> None:
        """Send what an engine could not open whole, the next time."""
        self._refused.add(missing.digest)
        for call in missing.calls:
            if (sent := self._sent.pop(call, None)) is not None and sent[2]:
                self._maps = False

    def _call(self, call: Call, ahead: list[Message], *, local: bool) -> Call:
        """Return the call with pickled items, and faults for those that cannot be pickled."""
        if isinstance(call.items, (PackedItems, SentItems)):
            return call._replace(items=self._to_send(call, call.items.packed, 0.0, ahead, local=local))
        began = time.perf_counter()
        body, errors = pack(call.items)
        ready = self._to_send(call, body, time.perf_counter() - began, ahead, local=local)
        if body.layout is not None:
            errors |= _unreadable(call.items)
        if not errors:
            if body.layout is not None or body.nbytes >= LARGE:
                self._pickled.append((call.id, body))
            return Call(*call[:-1], ready)
        broken = {place: _fault(_refusal(call, place, error)) for place, error in errors.items()}
        return call._replace(items=ready, broken={**call.broken, **broken})

    def _to_send(
        self, call: Call, body: Packed, seconds: float, ahead: list[Message], *, local: bool
    ) -> Packed:
        """Return pickled items without the buffers that the engine has, or can open; note what is sent."""
        settled, common = call.run in self._settled, self._lodgings.common
        again = isinstance(call.items, SentItems)
        copies = common.among(body.buffers, call.run, settled=settled, again=again) if body.buffers else []
        if not any(copies):
            self._sent[call.id] = (body.nbytes, seconds, ())
            return body
        buffers, lodged = list(body.buffers), []
        for place, copy in enumerate(copies):
            if copy is None:
                continue
            if local and self._maps and copy.lodged is not None:
                buffers[place] = copy.lodged
                lodged.append(copy)
            else:
                buffers[place] = self._kept_by_engine(copy, ahead)
        elsewhere = sum(len(copy.content) for copy in lodged)
        self._sent[call.id] = (body.nbytes - elsewhere, seconds, lodged)
        return body._replace(buffers=buffers)

    def _kept_by_engine(self, copy: CommonBuffer, ahead: list[Message]) -> Kept:
        if copy.key not in self._has:
            self._has.add(copy.key)
            ahead.append(Keep(copy.key, Packed(b"", None, [copy.content])))
        return Kept(copy.key)

    def _dropped(self) -> list[Message]:
        """Return what tells the engine to forget the buffers that are not used any more."""
        stale = self._has.difference(copy.key for copy in self._lodgings.common.current())
        self._has -= stale
        return [Drop(tuple(stale))] if stale else []

    def _done(self, done: Done) -> Done:
        """Return the outcomes with their values, and with faults for those that cannot be unpickled."""
        moved, seconds, _ = self._sent.pop(done.id, _NOTHING) if done.final else _NOTHING
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
