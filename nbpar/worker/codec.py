"""How functions, items and values pass between client and worker: as bytes, or as they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from nbpar.errors import PicklingError
from nbpar.wire.diagnosis import explain, explain_unpickling
from nbpar.wire.faults import Fault, describe
from nbpar.wire.lodging import Lodged
from nbpar.wire.pickling import Packed, pack, unpack, unpack_one


class Codec(Protocol):
    """What the worker loop needs to know of the way."""

    def function(self, load: Any) -> Callable[..., Any]:
        """Make the function of a `Load`; raises what unpickling raises."""

    def items(self, body: Any, first: int) -> tuple[Sequence[Any], dict[int, Fault]]:
        """Make the items of a `Call`, and faults of those that could not be made, by offset."""

    def values(self, values: list[Any], first: int) -> tuple[Any, dict[int, Fault]]:
        """Prepare values for the way back, and faults of those that cannot travel, by offset."""

    def describe(self, error: BaseException) -> Fault:
        """Prepare an exception for the way back."""


class Pickled:
    """Everything travels as bytes."""

    def function(self, load: Packed) -> Callable[..., Any]:
        made: Callable[..., Any] = unpack_one(load._replace(buffers=_own(load.buffers)))
        return made

    def items(self, body: Packed, first: int) -> tuple[Sequence[Any], dict[int, Fault]]:
        items, errors = unpack(body)
        return items, {
            place: _fault(explain_unpickling(error, what=f"item {first + place}"), error)
            for place, error in errors.items()
        }

    def values(self, values: list[Any], first: int) -> tuple[Packed, dict[int, Fault]]:
        packed, errors = pack(values)
        return packed, {
            place: _fault(explain(values[place], error, what=f"the result of item {first + place}"), error)
            for place, error in errors.items()
        }

    def describe(self, error: BaseException) -> Fault:
        return describe(error)


class ByReference:
    """Everything stays in this process as it is."""

    def function(self, load: Callable[..., Any]) -> Callable[..., Any]:
        return load

    def items(self, body: Sequence[Any], first: int) -> tuple[Sequence[Any], dict[int, Fault]]:  # noqa: ARG002
        return body, {}

    def values(self, values: list[Any], first: int) -> tuple[list[Any], dict[int, Fault]]:  # noqa: ARG002
        return values, {}

    def describe(self, error: BaseException) -> Fault:
        return describe(error, here=True)


def _own(buffers: Any) -> list[Any]:
    """Return buffers that a function may change without changing them for the next run."""
    if type(buffers) is Lodged:
        return buffers.buffers(writable=True)
    return [bytearray(buffer) for buffer in buffers]


def _fault(message: str, error: BaseException) -> Fault:
    new = PicklingError(message)
    new.__cause__ = error if isinstance(error, ImportError) else None
    return describe(new)
