"""Messages as frames of bytes.

Several messages are sent as one list of frames: first a pickle of plain values (all headers),
then large bodies.  Headers are read by an unpickler that allows no class and no function, so
that a malformed or foreign frame can only be rejected.
"""

from __future__ import annotations

import io
import mmap
import pickle
import struct
from collections.abc import Iterator, Sequence
from typing import Any

from nbpar.wire.common_buffers import Kept
from nbpar.wire.faults import Fault
from nbpar.wire.messages import (
    KINDS,
    Begin,
    Bye,
    Call,
    Close,
    Done,
    FoundBuffers,
    FoundModule,
    Imported,
    Item,
    Items,
    Keep,
    LateOutput,
    Load,
    Message,
    Open,
    Output,
    Printed,
    Ready,
    SeekModule,
    StacksSampled,
)
from nbpar.wire.pickling import Packed, Unreceived
from nbpar.wire.plain_pickling import dumps_plain
from nbpar.wire.shared_memory import Mapped

INLINE = 1 << 14
"""A body smaller than this is part of the header."""

_ITEM, _ITEMS = _ITEM_OR_ITEMS = (1, 2)
"""First byte of a frame with only an item, or short items; every pickle starts with 128."""

_NUMBER = struct.Struct("<q")

_CODE = {kind: code for code, kind in enumerate(KINDS)}

_BODIED = frozenset({Load, Call, Done, Open, Item, FoundBuffers, Keep})
"""Kinds whose last field is a body."""

_FAULTED = {
    Call: Call._fields.index("broken"),
    Done: Done._fields.index("faults"),
    Close: Close._fields.index("fault"),
}
"""Kinds with faults, and their field."""


_FOREIGN = frozenset(
    {
        Load,
        Begin,
        Ready,
        Output,
        Imported,
        Bye,
        Open,
        Printed,
        SeekModule,
        FoundModule,
        LateOutput,
        StacksSampled,
    }
)
"""Kinds with names, texts and facts from other code; likewise those with faults."""

_AS_RECEIVED = frozenset({bytearray, mmap.mmap, Unreceived})
"""Types of frames that need not be copied to be written to."""

_ELSEWHERE = frozenset({Mapped, Kept})
"""Types that stand for buffers that are not sent with a body."""

_NUMBERS = frozenset({int, float, type(None)})


class FrameError(ValueError):
    """Bytes that are not a valid message."""


def encode(messages: Sequence[Message]) -> list[Any]:
    """Return the frames of several messages."""
    if len(messages) == 1 and (by_itself := _by_itself(messages[0])):
        return [by_itself]
    frames: list[Any] = [b""]
    heads = []
    foreign = False
    for message in messages:
        kind = type(message)
        fields: tuple[Any, ...] = tuple(message)
        if kind in _BODIED and type(fields[-1]) is Packed:
            fields = (*fields[:-1], _place(fields[-1], frames))
        if kind in _FAULTED and (faults := fields[_FAULTED[kind]]):
            at, foreign = _FAULTED[kind], True
            fields = (*fields[:at], _plainly(faults), *fields[at + 1 :])
        foreign = foreign or kind in _FOREIGN or (kind is Call and _is_foreign(message))
        heads.append((_CODE[kind], fields))
    frames[0] = dumps_plain(heads) if foreign else pickle.dumps(heads, 5)
    return frames


def decode(frames: Sequence[Any]) -> list[Message]:
    """Reverse `encode`; bodies come back as `Packed`, faults as `Fault`.

    Raises:
        FrameError: the bytes are not valid messages.
    """
    try:
        if len(frames) == 1 and frames[0][0] in _ITEM_OR_ITEMS:
            return [_one_message(frames[0])]
        heads = _HeadUnpickler(io.BytesIO(frames[0])).load()
        rest = iter(frames[1:])
        messages = [_message(code, fields, rest) for code, fields in heads]
    except Exception as error:
        raise FrameError(f"not a message: {error}") from error
    if not messages:
        raise FrameError("not a message: it is empty")
    return messages


def _is_foreign(call: Any) -> bool:
    """Whether a call has numbers of a type that the other side may not know."""
    return type(call.timeout) not in _NUMBERS or type(call.seed) not in _NUMBERS


def _by_itself(message: Message) -> bytes | None:
    """Return the single frame of the most frequent messages of channels."""
    if type(message) is Items:
        return b"%c%b%b" % (_ITEMS, _NUMBER.pack(message.channel), pickle.dumps(message.values, 5))
    if type(message) is not Item or type(packed := message.value) is not Packed:
        return None
    if packed.layout is not None or len(packed.head) > INLINE:
        return None
    return b"%c%b%b" % (_ITEM, _NUMBER.pack(message.channel), packed.head)


def _one_message(frame: bytes) -> Message:
    """Reverse `_by_itself`."""
    (number,) = _NUMBER.unpack_from(frame, 1)
    if frame[0] == _ITEM:
        return Item(number, Packed(frame[9:], None, []))
    values = pickle.loads(memoryview(frame)[9:])
    if type(values) is not list:
        raise FrameError("these are no items")
    return Items(number, values)


def _place(packed: Packed, frames: list[Any]) -> tuple[Any, ...]:
    """Put a body into the header or behind it; return its entry in the header."""
    inline = len(packed.head) <= INLINE
    if not inline:
        frames.append(packed.head)
    head = packed.head if inline else None
    if type(packed.buffers) is Mapped:
        return (head, packed.layout, packed.number, tuple(packed.buffers))
    if not _ELSEWHERE.isdisjoint(map(type, packed.buffers)):
        return (head, packed.layout, packed.number, [_entry(buffer, frames) for buffer in packed.buffers])
    frames.extend(packed.buffers)
    return (head, packed.layout, packed.number, len(packed.buffers))


def _entry(buffer: Any, frames: list[Any]) -> tuple[Any, ...] | int | None:
    """Return the entry in the header of one buffer among others that are not sent here."""
    if type(buffer) is Mapped:
        return tuple(buffer)
    if type(buffer) is Kept:
        return buffer.key
    frames.append(buffer)
    return None


def _plainly(faults: Fault | dict[int, Fault]) -> Any:
    """Replace faults by tuples, so that headers contain plain values only."""
    if isinstance(faults, Fault):
        return tuple(faults)
    return {place: tuple(fault) for place, fault in faults.items()}


def _message(code: int, fields: tuple[Any, ...], rest: Iterator[Any]) -> Message:
    kind = KINDS[code]
    if kind in _FAULTED and (faults := fields[_FAULTED[kind]]):
        at = _FAULTED[kind]
        fields = (*fields[:at], _as_faults(faults), *fields[at + 1 :])
    if kind in _BODIED and type(fields[-1]) is tuple:
        fields = (*fields[:-1], _take(fields[-1], rest))
    message: Message = kind(*fields)
    return message


def _as_faults(said: tuple[Any, ...] | dict[int, tuple[Any, ...]]) -> Fault | dict[int, Fault]:
    if isinstance(said, tuple):
        return Fault(*said)
    return {place: Fault(*fault) for place, fault in said.items()}


def _take(said: tuple[Any, ...], rest: Iterator[Any]) -> Packed:
    head, layout, number, buffers = said
    if head is None:
        head = next(rest)
    if type(buffers) is tuple:
        return Packed(head, layout, Mapped(*buffers), number)
    if type(buffers) is list:
        return Packed(head, layout, [_buffer(entry, rest) for entry in buffers], number)
    return Packed(head, layout, [_writable(next(rest)) for _ in range(buffers)] if buffers else [], number)


def _buffer(entry: tuple[Any, ...] | int | None, rest: Iterator[Any]) -> Any:
    """Reverse `_entry`."""
    if entry is None:
        return _writable(next(rest))
    return Kept(entry) if isinstance(entry, int) else Mapped(*entry)


def _writable(frame: Any) -> Any:
    return frame if type(frame) in _AS_RECEIVED else bytearray(frame)


class _HeadUnpickler(pickle.Unpickler):
    """Reads plain values only."""

    def find_class(self, module: str, name: str) -> Any:
        raise FrameError(f"a head may not hold {module}.{name}")
