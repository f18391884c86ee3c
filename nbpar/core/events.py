"""The events of a run, as records; a listener is any callable that takes them.

Records are never changed.  They are not declared frozen because that triples
the cost of creation, and there is one for every chunk.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nbpar.core.inner_bars import Bars
from nbpar.core.outcome import Failure
from nbpar.core.transcript import Piece


@dataclass(slots=True)
class RunStarted:
    """A run has started."""

    at: float
    """Seconds on the dispatcher's clock, here and in every event."""

    label: str
    total: int | None
    """Number of items; None if unknown."""


@dataclass(slots=True)
class WorkerJoined:
    """A worker has joined."""

    at: float
    worker: str
    host: str
    pid: int
    machine: str = ""
    """What proves that its pid is one of this machine (`host.machine`)."""

    device: str = ""
    """The one device that it may use, such as `GPU 0`; "" if that is unknown, or none or several."""


@dataclass(slots=True)
class WorkerLeft:
    """A worker has left normally."""

    at: float
    worker: str


@dataclass(slots=True)
class WorkerLost:
    """A worker died."""

    at: float
    worker: str
    reason: str


@dataclass(slots=True)
class WorkerSilent:
    """A worker does not answer; it may be lost, or its network."""

    at: float
    worker: str


@dataclass(slots=True)
class WorkerAnswering:
    """A worker that was silent answers again."""

    at: float
    worker: str


@dataclass(slots=True)
class ChunkSent:
    """Neighboring items were sent to a worker."""

    at: float
    worker: str
    call: int
    first: int
    count: int
    attempt: int


@dataclass(slots=True)
class ChunkCut:
    """A worker has given back what it had not begun of a chunk."""

    at: float
    worker: str
    call: int
    count: int
    """How many items without an outcome it keeps."""


@dataclass(slots=True)
class ItemsDone:
    """Neighboring items have their outcomes."""

    at: float
    worker: str
    call: int
    first: int
    count: int
    failed: int
    """Number of them that failed permanently."""

    retried: int
    """Number of them that will be retried."""

    seconds: float
    """Time in the function, summed over the items."""

    each: tuple[float, ...]
    """The same per item; empty when items are too short to be timed one by one."""

    moved: int
    """Bytes of items and values."""

    memory: int
    """Resident bytes of the worker."""

    final: bool
    """Whether the worker has finished the call."""

    chunk_size: int
    """Items in the chunks that follow."""

    cpu: float = 0.0
    """CPU seconds of the worker's process in this time; 0 if unknown."""

    cpu_of_thread: float = 0.0
    """CPU seconds of only the thread that runs the function."""

    queued: float = 0.0
    """Seconds in which that thread waited for a CPU."""

    packing: float = 0.0
    """Seconds in which the worker pickled and unpickled."""

    here: float = 0.0
    """Seconds in which this process did."""

    chunk: Any = None
    """Their chunk, with `first` and `items`."""


@dataclass(slots=True)
class PackagesImported:
    """A worker imported packages for the run."""

    at: float
    worker: str
    packages: tuple[tuple[str, float], ...]
    """Name and seconds, which are not part of `ItemsDone`."""


@dataclass(slots=True)
class StacksSampled:
    """A worker's items of a profiled run have spent time in these stacks."""

    at: float
    worker: str
    places: tuple[tuple[str, str, int, int], ...]
    """File, function, the function's first line, and a line in it."""

    stacks: tuple[tuple[tuple[int, ...], float], ...]
    """Each stack as numbers of places, the outermost first, and its seconds."""

    samples: int
    left_out: float
    """Seconds of further stacks."""


@dataclass(slots=True)
class MemoryMeasured:
    """The memory of items was measured."""

    at: float
    peaks: tuple[tuple[int, int, int], ...]
    """Index of an item, number of items from there on, and the most resident bytes of the worker in these."""


@dataclass(slots=True)
class ItemsKnown:
    """Neighboring items have their values from an earlier run, without computing."""

    at: float
    first: int
    count: int


@dataclass(slots=True)
class ItemDelayed:
    """An item waits long for its next attempt."""

    at: float
    index: int
    due: float
    why: str
    """What has failed it: the exception's type, and its HTTP status if it has one."""


@dataclass(slots=True)
class ItemFailed:
    """An item failed permanently."""

    at: float
    failure: Failure


@dataclass(slots=True)
class ItemPrinted:
    """Output of an item: a print, display, log record or warning."""

    at: float
    piece: Piece


@dataclass(slots=True)
class BarsMoved:
    """Progress bars inside an item have moved, or are over."""

    at: float
    worker: str
    call: int
    index: int
    bars: Bars


@dataclass(slots=True)
class RunPaused:
    """The run was paused or resumed."""

    at: float
    paused: bool


@dataclass(slots=True)
class MemoryLow:
    """Memory has run low, so that work is throttled; or there is enough again."""

    at: float
    low: bool
    free: int
    """Free bytes."""


@dataclass(slots=True)
class RateReached:
    """The run waits for its rate to let items begin, or does not any more."""

    at: float
    limited: bool
    until: float | None
    """Time when the next item may begin; None if unknown."""

    rate: str


@dataclass(slots=True)
class WorkersAwaited:
    """Workers are on their way, and wait for something; or none waits any more."""

    at: float
    words: str
    """How many are there, and what the others wait for; "" for nothing."""


@dataclass(slots=True)
class RunFinished:
    """There are no further events."""

    at: float
    state: str
    """`done`, `failed` or `stopped`."""


Event = (
    RunStarted
    | WorkerJoined
    | WorkerLeft
    | WorkerLost
    | WorkerSilent
    | WorkerAnswering
    | ChunkSent
    | ChunkCut
    | ItemsDone
    | PackagesImported
    | StacksSampled
    | MemoryMeasured
    | ItemsKnown
    | ItemDelayed
    | ItemFailed
    | ItemPrinted
    | BarsMoved
    | RunPaused
    | MemoryLow
    | RateReached
    | WorkersAwaited
    | RunFinished
)

Listener = Callable[[Event], None]
