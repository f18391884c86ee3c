"""What client and worker say to each other."""

from __future__ import annotations

from typing import Any, NamedTuple

from nbpar.wire.faults import Fault

INITIALIZER = -1
"""Number of the run, and of the call, that run a pool's initializer on a worker."""

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


class Items(NamedTuple):
    """Short items of plain types through a channel."""

    channel: int
    values: list[Any]


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
    | Items
    | Credit
    | Close
    | Printed
)

KINDS: tuple[type[Any], ...] = (
    Load, Call, Cancel, Ping, Release, Ready, Done, Missing, Output, Pong, Bye, Open, Item, Credit, Close,
    Printed, Begin, Items,
)  # fmt: skip
"""All that are sent; the place of a kind among them is its number on the way."""
