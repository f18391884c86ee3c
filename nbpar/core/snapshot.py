"""A run, and each stage of a pipeline, at one moment: the input of views."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from nbpar.core.lanes import Lane
from nbpar.core.outcome import Failure, FailureGroup


class PackageImports(NamedTuple):
    """A package that workers imported for a run."""

    name: str
    seconds: float
    """Sum over all workers, including other packages that it imports."""

    workers: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A run at one moment."""

    label: str
    state: str
    """`waiting` (no worker yet), `running`, `paused`, `done`, `failed` or `stopped`."""

    total: int | None
    done: int
    """Number of items with an outcome, failures included."""

    failed: int
    """Number of items without a value: those that failed permanently, and those that were skipped."""

    retried: int
    elapsed: float
    """Seconds since the start of the run."""

    rate: float
    """Items per second, recently; overall if the run is over."""

    left: float | None
    """Estimated seconds left; None if unknown."""

    chunk_size: int
    moved: int
    busy: float
    """Seconds in the user's function, summed over workers."""

    lost_workers: int
    lanes: tuple[Lane, ...]
    failures: tuple[Failure, ...]
    """The first ones, in input order."""

    output: tuple[tuple[int, str, str], ...]
    """The latest output: index, stream, text."""

    slowest: tuple[tuple[float, int], ...]
    """Seconds and index of the slowest items, slowest first; only where items were timed one by one."""

    known: int = 0
    """Items among those done whose values came from an earlier run."""

    note: str = ""
    """Why it is slower than possible; "" if nothing slows it down."""

    slow_items: tuple[Any, ...] = ()
    """The items among `slowest`, in sequences of one; empty ones for unknown items."""

    waited: float = 0.0
    """Seconds from the start until the first worker was available."""

    held: float = 0.0
    """Seconds in which low memory throttled work."""

    packing: float = 0.0
    """Seconds in which this process pickled items and unpickled values."""

    workers: int = 0
    """Maximal number of concurrent workers."""

    stages: tuple[StageFigures, ...] = ()
    """Figures of a pipeline's stages, in order; none in a map."""

    failure_groups: tuple[FailureGroup, ...] = ()
    """All failures by type and line, the most frequent first."""

    paused: float = 0.0
    """Seconds since it was paused; 0 if it is not."""

    low: bool = False
    """Whether low memory throttles work."""

    imports: tuple[PackageImports, ...] = ()
    """Imports of workers, slowest first."""

    skipped: int = 0
    """Number of failed items that the user has let go of."""

    limited: float = 0.0
    """Seconds in which it waited for its `rate`."""

    rate_limit: str = ""
    """That rate, if it had to wait for it: `500/min`."""

    @property
    def bad(self) -> int:
        """Number of items that failed by themselves."""
        return max(self.failed - self.skipped, 0)

    @property
    def silent_workers(self) -> int:
        """Number of workers that do not answer now."""
        return sum(lane.state == "silent" for lane in self.lanes)

    @property
    def over(self) -> bool:
        """Whether it is final."""
        return self.state in ("done", "failed", "stopped")


@dataclass(frozen=True, slots=True)
class StageFigures:
    """One stage at one moment."""

    name: str
    place: int
    """Position in the pipeline, from 0."""

    backend: str
    """`engines`, `threads` or `serial`."""

    workers: int
    """Maximal number of its workers."""

    shared: bool
    """Whether other stages share its workers."""

    waiting: int
    """Items in its queue."""

    room: int | None
    """Maximal number of items in its queue; None if adaptive."""

    snapshot: Snapshot
    """The snapshot of this stage alone."""

    @property
    def working(self) -> int:
        """Current number of its workers."""
        return sum(lane.state == "busy" for lane in self.snapshot.lanes)

    @property
    def done(self) -> int:
        """Number of items with an outcome, failures included."""
        return self.snapshot.done

    @property
    def failed(self) -> int:
        """Number of permanently failed items, without those that were skipped."""
        return self.snapshot.bad

    @property
    def retried(self) -> int:
        """Number of retries."""
        return self.snapshot.retried

    @property
    def rate(self) -> float:
        """Items per second, recently; overall if it is over."""
        return self.snapshot.rate

    @property
    def busy(self) -> float:
        """Seconds in the function, summed over workers."""
        return self.snapshot.busy

    @property
    def elapsed(self) -> float:
        """Seconds since the start of the pipeline, up to its end."""
        return self.snapshot.elapsed

    @property
    def state(self) -> str:
        """`waiting`, `running`, `paused`, `done`, `failed` or `stopped`."""
        return self.snapshot.state

    @property
    def seconds_per_item(self) -> float:
        """Mean time in the function in seconds; 0 before the first outcome."""
        return self.busy / self.done if self.done else 0.0

    @property
    def load(self) -> float:
        """Share of its workers' time spent in the function."""
        return self.busy / (self.elapsed * self.workers) if self.elapsed and self.workers else 0.0
