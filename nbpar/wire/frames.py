"""Messages between client and worker, and their bytes.

Several messages travel as one list of frames: first a pickle of plain values (all heads),
then what is large.  Heads are read by an unpickler that knows no class and no function, so
that a malformed or foreign frame can do nothing but be refused.
"""

from __future__ import annotations

import io
import pickle
import struct
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from nbpar.wire.faults import Fault
from nbpar.wire.pickling import Packed

INLINE = 1 << 14
"""A body smaller than this travels in the head."""


_SHORT = 1
"""First byte of a frame that is one small item; every pickle begins with 128."""

_NUMBER = struct.Struct("<q")


INITIALIZER = -1
"""Number of the run, and of the call, that run a pool's initializer on a worker."""


class FrameError(ValueError):
    """Bytes that are no message of ours."""


# ---- client to worker


class Load(NamedTuple):
    """Here is a function; calls name it by its digest."""

    digest: bytes
    name: str
    function: Any


class Call(NamedTuple):
    """Apply a function to neighbouring items."""

    id: int
    run: int
    """Each run has its own instance of the function, with the captured values as they were sent."""

    digest: bytes
    first: int
    spread: str
    timed: bool
    """Measure every item, not only all of them."""

    stop_early: bool
    """Leave the rest undone after the first failure."""

    timeout: float | None
    seed: int | None
    broken: dict[int, Fault]
    """Items that could not be sent, by offset: they have failed already."""

    items: Any


class Begin(NamedTuple):
    """A run's calls will follow; here is what the run finds at the client's side."""

    run: int
    modules: tuple[tuple[str, bytes], ...]
    """Modules of the user that the function reaches, by name, and which version the client has."""

    levels: tuple[tuple[str, int], ...]
    """Levels that were set for loggers, by name; and under an empty name what `logging.disable` set."""


class Cancel(NamedTuple):
    """Do not begin these calls."""

    ids: tuple[int, ...]


class Ping(NamedTuple):
    """The client is still there."""

    token: int


class Release(NamedTuple):
    """Leave the loop; the engine is free for others."""


# ---- worker to client


class Ready(NamedTuple):
    """The loop has begun."""

    facts: dict[str, Any]
    """`pid`, `host`, `python`, `memory` and what else is known of the place."""


class Done(NamedTuple):
    """Outcomes of a call's next items."""

    id: int
    first: int
    """Index of the first of them."""

    final: bool
    """The call is over; what it left undone was not begun."""

    interrupted: bool
    """The item after the last outcome was stopped by a signal."""

    seconds: float
    """Time spent in the function."""

    each: tuple[float, ...]
    """The same per item; empty unless the call was `timed`."""

    memory: int
    """Resident bytes of the worker."""

    faults: dict[int, Fault]
    """By offset from `first`."""

    costs: tuple[float, float, float, float]
    """Seconds: of CPU in the worker's process, of these in the thread that runs the function, in which the
    worker pickled and unpickled, in which the receiving side did (filled in there); 0 when not known."""

    moved: int
    """Bytes of items and values together (filled in by the receiving side)."""

    values: Any


NO_COSTS = (0.0, 0.0, 0.0, 0.0)


class Missing(NamedTuple):
    """The worker does not have this function (any more); the calls were not begun."""

    digest: bytes
    calls: tuple[int, ...]


class Output(NamedTuple):
    """What items printed, displayed, logged and warned of."""

    call: int
    pieces: tuple[tuple[int, str, Any], ...]
    """Index of the item, kind, content: as the recorder noted it."""


class Pong(NamedTuple):
    """Answer to a ping."""

    token: int


class Bye(NamedTuple):
    """The loop has ended; nothing more will come."""

    reason: str


class Lost(NamedTuple):
    """The worker is gone.  Made by backends, never sent."""

    reason: str


# ---- channels (both ways)


class Open(NamedTuple):
    """Begin a channel, and run code at its other end."""

    channel: int
    how: str
    """`main`: code in the main thread; `thread`: in one of its own; `bare`: no code."""

    items: int
    """Items that each side may be ahead of the other."""

    nbytes: int
    """Bytes likewise."""

    code: Any


class Item(NamedTuple):
    """One item through a channel."""

    channel: int
    value: Any


class Credit(NamedTuple):
    """The other side may send so many items and bytes more."""

    channel: int
    items: int
    nbytes: int


class Close(NamedTuple):
    """No more items come from this side."""

    channel: int
    half: bool
    """This side still takes items."""

    fault: Fault | None


class Printed(NamedTuple):
    """What the code of a channel printed."""

    channel: int
    lines: tuple[tuple[str, str], ...]
    """Stream (`stdout` or `stderr`) and text."""


Message = (
    Load
    | Begin
    | Call
    | Cancel
    | Ping
    | Release
    | Ready
    | Done
    | Missing
    | Output
    | Pong
    | Bye
    | Lost
    | Open
    | Item
    | Credit
    | Close
    | Printed
)

KINDS: tuple[type[Any], ...] = (
    Load, Call, Cancel, Ping, Release, Ready, Done, Missing, Output, Pong, Bye, Open, Item, Credit, Close,
    Printed, Begin,
)  # fmt: skip
_CODE = {kind: code for code, kind in enumerate(KINDS)}


_BODIED = frozenset({Load, Call, Done, Open, Item})
"""Kinds whose last field is a body."""

_FAULTED = {
    Call: Call._fields.index("broken"),
    Done: Done._fields.index("faults"),
    Close: Close._fields.index("fault"),
}
"""Kinds with faults, and in which field."""


def encode(messages: Sequence[Message]) -> list[Any]:
    """Return the frames of several messages."""
    if len(messages) == 1 and type(messages[0]) is Item and (short := _short_item(messages[0])):
        return [short]
    frames: list[Any] = [b""]
    heads = []
    for message in messages:
        kind = type(message)
        fields: tuple[Any, ...] = tuple(message)
        if kind in _BODIED and type(fields[-1]) is Packed:
            fields = (*fields[:-1], _place(fields[-1], frames))
        if kind in _FAULTED and (faults := fields[_FAULTED[kind]]):
            at = _FAULTED[kind]
            fields = (*fields[:at], _plainly(faults), *fields[at + 1 :])
        heads.append((_CODE[kind], fields))
    frames[0] = pickle.dumps(heads, 5)
    return frames


def decode(frames: Sequence[Any]) -> list[Message]:
    """Reverse `encode`; bodies come back as `Packed`, faults as `Fault`.

    Raises:
        FrameError: the bytes are no messages of ours.
    """
    try:
        if len(frames) == 1 and frames[0][0] == _SHORT:
            return [Item(_NUMBER.unpack_from(frames[0], 1)[0], Packed(frames[0][9:], None, []))]
        heads = _HeadUnpickler(io.BytesIO(frames[0])).load()
        rest = iter(frames[1:])
        return [_message(code, fields, rest) for code, fields in heads]
    except Exception as error:
        raise FrameError(f"not a message: {error}") from error


class Decoder:
    """Makes messages of frames; what is none of ours is dropped and counted."""

    def __init__(self) -> None:
        self.dropped = 0

    def decode(self, frames: Sequence[Any]) -> list[Message]:
        """Return the messages; none for frames that hold none."""
        try:
            return decode(frames)
        except FrameError:
            self.dropped += 1
            return []


def _short_item(item: Item) -> bytes | None:
    """Return the one frame of a small item by itself, which is what channels send most."""
    channel, packed = item
    if type(packed) is Packed and packed.layout is None and len(packed.head) <= INLINE:
        return b"%c%b%b" % (_SHORT, _NUMBER.pack(channel), packed.head)
    return None


def _place(packed: Packed, frames: list[Any]) -> tuple[Any, ...]:
    """Put a body into the head or behind it; return what the head says of it."""
    inline = len(packed.head) <= INLINE
    if not inline:
        frames.append(packed.head)
    frames.extend(packed.buffers)
    return (packed.head if inline else None, packed.layout, len(packed.buffers))


def _plainly(faults: Fault | dict[int, Fault]) -> Any:
    """Replace faults by tuples, so that heads hold plain values only."""
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
    head, layout, buffers = said
    if head is None:
        head = next(rest)
    return Packed(head, layout, [_writable(next(rest)) for _ in range(buffers)] if buffers else [])


def _writable(frame: Any) -> bytearray:
    return frame if type(frame) is bytearray else bytearray(frame)


class _HeadUnpickler(pickle.Unpickler):
    """Reads plain values only."""

    def find_class(self, module: str, name: str) -> Any:
        raise FrameError(f"a head may not hold {module}.{name}")
