"""Pass functions, items and values between client and worker: pickled, or by reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from nbpar.core.call_style import Lent
from nbpar.errors import PicklingError
from nbpar.wire.common_buffers import mapped
from nbpar.wire.diagnosis.explain import explain, explain_unpickling
from nbpar.wire.faults import Fault, describe
from nbpar.wire.pickling import Packed, arrived, pack, unpack, unpack_one
from nbpar.wire.shared_memory import Mapped


class Codec(Protocol):
    """The conversions that the worker loop needs for its transport."""

    apart: bool
    """Whether objects among the values of the current run are pickled one by one."""

    def function(self, load: Any) -> Callable[..., Any] | Lent:
        """Make the function of a `Load`; errors of unpickling propagate."""

    def items(self, body: Any, first: int) -> tuple[Sequence[Any], dict[int, Fault]]:
        """Make the items of a `Call`, and faults of those that could not be made, by offset.

        Raises:
            NotMappedError: a buffer must be sent.
        """

    def values(self, values: list[Any], first: int) -> tuple[Any, dict[int, Fault]]:
        """Prepare values to be sent, and faults of those that cannot be serialized, by offset."""

    def describe(self, error: BaseException) -> Fault:
        """Serialize an exception for the client."""


class Pickled:
    """All values are sent as bytes."""

    def __init__(self) -> None:
        self.apart = False

    def function(self, load: Packed) -> Callable[..., Any]:
        made: Callable[..., Any] = unpack_one(load._replace(buffers=_own(load.buffers)))
        return made

    def items(self, body: Packed, first: int) -> tuple[Sequence[Any], dict[int, Fault]]:
        items, errors = unpack(body._replace(buffers=mapped(body.buffers)) if body.buffers else body)
        return items, {
            place: _fault(explain_unpickling(error, what=f"item {first + place}"), error)
            for place, error in errors.items()
        }

    def values(self, values: list[Any], first: int) -> tuple[Packed, dict[int, Fault]]:
        packed, errors = pack(values, instances=not self.apart)
        return packed, {
            place: _fault(explain(values[place], error, what=f"the result of item {first + place}"), error)
            for place, error in errors.items()
        }

    def describe(self, error: BaseException) -> Fault:
        return describe(error)


class ByReference:
    """All objects are passed by reference."""

    apart = False

    def function(self, load: Lent) -> Lent:
        return load

    def items(self, body: Sequence[Any], first: int) -> tuple[Sequence[Any], dict[int, Fault]]:  # noqa: ARG002
        return list(body), {}  # the client keeps its own whatever happens to these

    def values(self, values: list[Any], first: int) -> tuple[list[Any], dict[int, Fault]]:  # noqa: ARG002
        return values, {}

    def describe(self, error: BaseException) -> Fault:
        return describe(error, here=True)


def _own(buffers: Any) -> list[Any]:
    """Return buffers that a function may change without affecting the next run."""
    if type(buffers) is Mapped:
        return buffers.buffers(writable=True)
    return [bytearray(buffer) for buffer in arrived(buffers)]


def _fault(message: str, error: BaseException) -> Fault:
    new = PicklingError(message)
    new.__cause__ = error if isinstance(error, ImportError) else None
    return describe(new)
