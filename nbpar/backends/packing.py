"""Pickle what goes to an engine and unpickle the values of its outcomes.

What cannot be pickled, or not be unpickled, fails alone.
"""

from __future__ import annotations

import time

from nbpar.backends.lodgings import Lodgings
from nbpar.errors import PicklingError
from nbpar.wire.diagnosis import explain, explain_unpickling
from nbpar.wire.faults import Fault, describe
from nbpar.wire.messages import Call, Done, Load, Message, Missing
from nbpar.wire.packed_items import PackedItems
from nbpar.wire.pickling import pack, unpack


class Packing:
    """Packs and unpacks for one engine, and says in each outcome what that has taken.

    Args:
        kept: calls whose values stay packed, since they only pass through here.
        lodgings: large arrays of functions, for all engines of this host.
    """

    def __init__(self, kept: set[int], lodgings: Lodgings) -> None:
        self._kept = kept
        self._lodgings = lodgings
        self._refused: set[bytes] = set()
        """Functions that the engine did not find where they were lodged."""

        self._sent: dict[int, tuple[int, float]] = {}
        """Bytes sent and the seconds it took to pickle them, by call."""

    def packed(self, message: Message, *, local: bool) -> Message:
        """Return a message as it travels to the engine; `local`: it is on this host."""
        if isinstance(message, Call):
            return self._call(message)
        if isinstance(message, Load) and local and message.digest not in self._refused:
            return self._lodgings.lodged(message)
        return message

    def unpacked(self, message: Message) -> Message:
        """Return a message of the engine with its values."""
        if isinstance(message, Done):
            return self._done(message)
        if isinstance(message, Missing):
            self._refused.add(message.digest)  # the next time all of it travels
        return message

    def _call(self, call: Call) -> Call:
        """Return the call with its items as bytes, and with faults for those that cannot be pickled."""
        if isinstance(call.items, PackedItems):
            self._sent[call.id] = (call.items.packed.nbytes, 0.0)
            return call._replace(items=call.items.packed)
        began = time.perf_counter()
        body, errors = pack(call.items)
        self._sent[call.id] = (body.nbytes, time.perf_counter() - began)
        if not errors:
            return Call(*call[:-1], body)
        broken = {
            place: _fault(explain(call.items[place], error, what=f"item {call.first + place}"))
            for place, error in errors.items()
        }
        return call._replace(items=body, broken={**call.broken, **broken})

    def _done(self, done: Done) -> Done:
        """Return the outcomes with their values, and with faults for those that cannot be unpickled."""
        moved, seconds = self._sent.pop(done.id, (0, 0.0)) if done.final else (0, 0.0)
        moved += done.values.nbytes
        if (
            self._is_kept(done) and done.values.layout is not None
        ):  # plain values are unpickled as quickly as cut
            return Done(*done[:-3], (*done.costs[:3], seconds), moved, PackedItems(done.values))
        began = time.perf_counter()
        values, errors = unpack(done.values)
        costs = (*done.costs[:3], seconds + time.perf_counter() - began)
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


def _fault(message: str) -> Fault:
    return describe(PicklingError(message))
