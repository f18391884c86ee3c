"""The messages between client and worker."""

from __future__ import annotations

from typing import Any, NamedTuple

from nbpar.host.world import NO_CHANGES
from nbpar.wire.faults import Fault

INITIALIZER = -1
"""Number of the run, and of the call, for a pool's initializer on a worker."""

# ---- client to worker


class Load(NamedTuple):
    """A function; calls refer to it by its digest."""

    digest: bytes
    name: str
    function: Any


class Call(NamedTuple):
    """Apply a function to neighboring items."""

    id: int
    run: int
    """Each run has its own instance of the function, with the captured values as sent."""

    digest: bytes
    first: int
    spread: str
    timed: bool
    """Whether to time every item, not only the whole call."""

    stop_early: bool
    """Whether to skip the rest after the first failure."""

    timeout: float | None
    seed: int | None
    concurrency: int
    """How many items of the run are under way at once on a worker, as tasks of its event loop; 0: an
    ordinary function, whose items run one after another."""

    broken: dict[int, Fault]
    """Errors of items that could not be sent, by offset: they have failed already."""

    items: Any


class Package(NamedTuple):
    """An installed package that a function imports."""

    module: str
    """Its top-level module."""

    distribution: str
    """What `pip install` calls it."""

    version: str


class Begin(NamedTuple):
    """A run's calls will follow; these are its settings."""

    run: int
    modules: tuple[tuple[str, bytes], ...]
    """The user's modules that the function uses, by name, with the client's versions."""

    levels: tuple[tuple[str, int], ...]
    """Levels of loggers, by name; the empty name has the level of `logging.disable`."""

    world: tuple[Any, ...] = NO_CHANGES
    """`Changes` of the client's environment, folder and import path since the workers started."""

    apart: bool = False
    """Whether objects among the results are pickled one by one: the client passes them on as bytes."""

    packages: tuple[tuple[str, str, str], ...] = ()
    """A `Package` for each that the function imports, to be compared with what the worker has."""

    begun_after: float | None = None
    """Seconds of an item after which the worker tells that it has begun; None: it need not."""

    asked: Any = None
    """Whether to read how long exceptions ask to wait: None for not, True, or a function that tells it,
    pickled where it is sent to another process."""

    profile: bool = False
    """Whether the stacks of its items are sampled, and their memory is measured."""

    settled: bool = False
    """Whether the input is a list or the like: an object in several items is sent as it was in the first."""


class FoundModule(NamedTuple):
    """The answer to `SeekModule`."""

    number: int
    modules: tuple[tuple[Any, ...], ...]
    """Name, source, file, whether it is a package, and its folders; empty if the client has none to send."""

    refusal: str
    """Why it does not send what it has; or empty."""

    files: tuple[tuple[str, bytes], ...]
    """Data files: path in the package, content."""


class FoundBuffers(NamedTuple):
    """The answer to `SeekBuffers`."""

    name: bytes
    keep: bool
    """Whether the worker keeps them for the others of its host, and tells where (`KeptBuffers`)."""

    content: Any
    """Nothing but the buffers, or their place; None if the client has them no more."""


class Cancel(NamedTuple):
    """Do not start these calls."""

    ids: tuple[int, ...]


class Keep(NamedTuple):
    """Keep a buffer that several items have in common; calls refer to it by its key."""

    key: int
    body: Any


class Drop(NamedTuple):
    """Forget buffers: no call that follows refers to them."""

    keys: tuple[int, ...]


class Stop(NamedTuple):
    """Do not start these calls of an async function, and cancel their items that are under way."""

    ids: tuple[int, ...]


class Cut(NamedTuple):
    """End a call with the item at hand: another worker has nothing to do."""

    call: int


class Ping(NamedTuple):
    """The client is alive."""

    token: int


class Release(NamedTuple):
    """End the loop; the engine is free for others."""


# ---- worker to client


class Ready(NamedTuple):
    """The loop has started."""

    facts: dict[str, Any]
    """`pid`, `host`, `python`, `memory` and other facts of the worker."""


class Done(NamedTuple):
    """Outcomes of a call's next items."""

    id: int
    first: int
    """Index of the first of them."""

    final: bool
    """The call is over; its remaining items were not started."""

    interrupted: bool
    """Whether the item after the last outcome was stopped by a signal."""

    seconds: float
    """Time spent in the function."""

    each: tuple[float, ...]
    """The same per item; empty unless the call was `timed`."""

    memory: int
    """Resident bytes of the worker."""

    faults: dict[int, Fault]
    """By offset from `first`."""

    costs: tuple[float, float, float, float, float]
    """Seconds: of CPU in the worker's process, of these in the function's thread, in which that
    thread waited for a CPU, in which the worker pickled and unpickled, in which the receiving side did
    (filled in there); 0 if unknown."""

    moved: int
    """Bytes of items and values (set by the receiving side)."""

    values: Any


NO_COSTS = (0.0, 0.0, 0.0, 0.0, 0.0)


class Missing(NamedTuple):
    """The worker does not have this function (any more); the calls were not started."""

    digest: bytes
    calls: tuple[int, ...]


class Output(NamedTuple):
    """Prints, displays, log records and warnings of items."""

    call: int
    pieces: tuple[tuple[int, str, Any], ...]
    """Index of the item, kind, content: as in the recorder."""


class LateOutput(NamedTuple):
    """Output of threads that outlive their items; it is shown while their run is under way."""

    run: int
    pieces: tuple[tuple[int, str, Any], ...]
    """As of `Output`."""


class Bars(NamedTuple):
    """Progress bars inside items have moved, or are over."""

    items: tuple[tuple[int, int, tuple[tuple[Any, ...], ...]], ...]
    """Call, index of the item, and its bars as an `InnerBar` each, none when they are over."""


class Running(NamedTuple):
    """The function of a call with a time limit has started, or stopped.

    Loading a function, items or results, which may import modules, does not count as an item's time.
    """

    call: int
    now: bool


class Begun(NamedTuple):
    """An item of a run at a limited rate lasts: it has begun, and all before it in its call."""

    call: int
    items: int
    """How many."""

    age: float
    """Seconds since it was seen to run, at least."""


class Imported(NamedTuple):
    """The worker imported packages, for a call's items or for its function.

    Their seconds are not part of `Done`.
    """

    call: int
    packages: tuple[tuple[str, float], ...]
    """Name and seconds."""


class StacksSampled(NamedTuple):
    """Where a worker's items of a profiled run have spent their time, since the last such message."""

    run: int
    places: tuple[tuple[str, str, int, int], ...]
    """File, function, the function's first line, and a line in it."""

    stacks: tuple[tuple[tuple[int, ...], float], ...]
    """Each stack as numbers of places, the outermost first, and the seconds for which it stands."""

    samples: int
    left_out: float
    """Seconds of further stacks that were too many to be kept."""


class MemoryPeaks(NamedTuple):
    """The most memory of the worker while it ran items of a call."""

    call: int
    peaks: tuple[tuple[int, int, int], ...]
    """Index of an item, number of items from there on, and the most resident bytes during all of them."""


class SeekModule(NamedTuple):
    """The worker cannot import a module otherwise, or gives the client's precedence."""

    number: int
    """Of the question."""

    name: str
    files: bool
    """Whether to send the data files of a package, in place of modules."""


class SeekBuffers(NamedTuple):
    """The worker needs large buffers that another one of its host may have."""

    name: bytes
    not_at: str
    """Name of the memory where they are not any more, if the client has said that; or empty."""


class KeptBuffers(NamedTuple):
    """The worker keeps buffers in shared memory, as it was asked to."""

    name: bytes
    place: tuple[Any, ...]
    """The fields of `Mapped`; empty if it cannot keep them."""


class Shortened(NamedTuple):
    """A call was cut: it ends with its first `items` items, and no other was begun."""

    call: int
    items: int


class Pong(NamedTuple):
    """Answer to a ping."""

    token: int


class Bye(NamedTuple):
    """The loop has ended; this is the last message."""

    reason: str


class Lost(NamedTuple):
    """The worker is gone.  Made by backends, never sent."""

    reason: str


class Silent(NamedTuple):
    """The worker does not answer.  Made by backends, never sent."""


class Answering(NamedTuple):
    """A worker that was silent answers again; comes before what it says.  Made by backends, never sent."""


# ---- channels (both ways)


class Open(NamedTuple):
    """Open a channel, and run code at its other end."""

    channel: int
    how: str
    """`main`: code in the main thread; `thread`: in one of its own; `bare`: no code."""

    items: int
    """Number of items that each side may be ahead of the other."""

    nbytes: int
    """The same in bytes."""

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
    """Credit for further items and bytes."""

    channel: int
    items: int
    nbytes: int


class Close(NamedTuple):
    """This side sends no further items."""

    channel: int
    half: bool
    """Whether this side still receives items."""

    fault: Fault | None


class Printed(NamedTuple):
    """Output of a channel's code."""

    channel: int
    lines: tuple[tuple[str, str], ...]
    """Stream (`stdout` or `stderr`) and text."""


Message = (
    Load
    | Begin
    | Keep
    | Drop
    | Call
    | Cancel
    | Stop
    | Cut
    | Ping
    | Release
    | Ready
    | Done
    | Missing
    | Running
    | Output
    | Begun
    | Imported
    | StacksSampled
    | MemoryPeaks
    | Shortened
    | LateOutput
    | Bars
    | SeekModule
    | FoundModule
    | SeekBuffers
    | FoundBuffers
    | KeptBuffers
    | Pong
    | Bye
    | Lost
    | Silent
    | Answering
    | Open
    | Item
    | Items
    | Credit
    | Close
    | Printed
)

KINDS: tuple[type[Any], ...] = (
    Load, Call, Cancel, Ping, Release, Ready, Done, Missing, Output, Pong, Bye, Open, Item, Credit, Close,
    Printed, Begin, Items, Running, Imported, Cut, Shortened, SeekModule,
    FoundModule, LateOutput, SeekBuffers, FoundBuffers, KeptBuffers, Keep, Drop, Stop, Bars, Begun,
    StacksSampled, MemoryPeaks,
)  # fmt: skip
"""All kinds of messages; the index of a kind is its number in the encoding."""
