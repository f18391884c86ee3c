"""What happens in a run, as records; a listener is any callable that takes them.

Nobody changes a record once it is made.  They are not declared frozen because that triples
the cost of making one, and there is one for every chunk.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nbpar.core.outcome import Failure
from nbpar.core.transcript import Piece


@dataclass(slots=True)
class RunStarted:
    """A run takes part from now on."""

    at: float
    """Seconds on the dispatcher's clock, here and in every event."""

    label: str
    total: int | None
    """Number of items; None when it is not known."""


@dataclass(slots=True)
class WorkerJoined:
    """A worker takes part."""

    at: float
    worker: str
    host: str
    pid: int


@dataclass(slots=True)
class WorkerLeft:
    """A worker takes part no more, in peace."""

    at: float
    worker: str


@dataclass(slots=True)
class WorkerLost:
    """A worker died."""

    at: float
    worker: str
    reason: str


@dataclass(slots=True)
class ChunkSent:
    """A worker was given neighbouring items."""

    at: float
    worker: str
    call: int
    first: int
    count: int
    attempt: int


@dataclass(slots=True)
class ItemsDone:
    """Neighbouring items have their outcomes."""

    at: float
    worker: str
    call: int
    first: int
    count: int
    failed: int
    """How many of them failed for good."""

    retried: int
    """How many of them will be tried again."""

    seconds: float
    """Time in the function, all items together."""

    each: tuple[float, ...]
    """The same per item; empty when items are too short to be timed one by one."""

    moved: int
    """Bytes of items and values."""

    memory: int
    """Resident bytes of the worker."""

    final: bool
    """The worker is through with the call."""

    chunk_size: int
    """Items in the chunks that follow."""

    cpu: float = 0.0
    """CPU seconds of the worker's process meanwhile; 0 when not known."""

    cpu_of_thread: float = 0.0
    """CPU seconds of the thread alone that runs the function."""

    packing: float = 0.0
    """Seconds in which the worker pickled and unpickled."""

    here: float = 0.0
    """Seconds in which this process did."""

    chunk: Any = None
    """What the items belong to: has `first` and `items`."""


@dataclass(slots=True)
class ItemsKnown:
    """Neighbouring items have their values from an earlier run; nobody computed them now."""

    at: float
    first: int
    count: int


@dataclass(slots=True)
class ItemFailed:
    """An item failed for good."""

    at: float
    failure: Failure


@dataclass(slots=True)
class ItemPrinted:
    """An item printed, displayed, logged or warned of something."""

    at: float
    piece: Piece


@dataclass(slots=True)
class RunPaused:
    """The run was paused, or goes on."""

    at: float
    paused: bool


@dataclass(slots=True)
class MemoryLow:
    """Memory has run short, so that work is held back; or there is enough again."""

    at: float
    low: bool
    free: int
    """Bytes that are left."""


@dataclass(slots=True)
class RunFinished:
    """Nothing will happen any more."""

    at: float
    state: str
    """`done`, `failed` or `stopped`."""


Event = (
    RunStarted
    | WorkerJoined
    | WorkerLeft
    | WorkerLost
    | ChunkSent
    | ItemsDone
    | ItemsKnown
    | ItemFailed
    | ItemPrinted
    | RunPaused
    | MemoryLow
    | RunFinished
)

Listener = Callable[[Event], None]
