"""Say where the time of a run went, and what could be done about it.

Plain arithmetic over what was counted.  Every finding has the figure that led to it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from nbpar.core.chunking import TARGET
from nbpar.core.progress import Snapshot
from nbpar.core.units import percent, plural, seconds, size

WORTH = 0.05
"""Seconds of a run below which there is nothing to be said about it."""

LARGE = 0.25
"""A share of the workers' time from which something is mentioned."""

BUSY = 0.2
"""Items that use the CPU for less of their time mostly wait."""

LONG_START = 0.5
"""Seconds before a worker was there that are worth being mentioned."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Where the time went.  Seconds of workers, all workers together, unless it says otherwise."""

    elapsed: float
    """Seconds from beginning to end, on the clock."""

    workers: int = 1
    """The most that took part at the same time."""

    starting: float = 0.0
    """Before workers were there."""

    computing: float = 0.0
    """In the function."""

    packing: float = 0.0
    """Workers unpickled items and pickled values."""

    transfer: float = 0.0
    """Items and values were on their way, and what that takes."""

    packing_here: float = 0.0
    """Seconds on the clock in which this process pickled items and unpickled values."""

    reading: float = 0.0
    """Seconds on the clock that the input took to be read."""

    held: float = 0.0
    """Seconds on the clock in which too little memory held work back."""

    items: int = 0
    """How many were computed."""

    chunks: int = 0
    chunksize: int | None = None
    """What was asked for; None when nbpar chose."""

    moved: int = 0
    """Bytes."""

    slowest: tuple[int, float] | None = None
    """Index of the slowest item, and its seconds."""

    cpu: float = 0.0
    """CPU seconds of the workers' processes; 0 when not known."""

    cpu_of_thread: float = 0.0
    """CPU seconds of those of their threads alone that ran the function."""

    cpus: int | None = None
    """CPUs that the workers share; None when not known."""

    @property
    def total(self) -> float:
        """Seconds that all workers had."""
        return self.workers * self.elapsed

    @property
    def waiting(self) -> float:
        """Workers were there and had nothing to do."""
        spent = self.starting + self.computing + self.packing + self.transfer
        return max(self.total - spent, 0.0)

    @property
    def efficiency(self) -> float:
        """Share of the workers' time that was spent in the function, from 0 to 1."""
        return min(self.computing / self.total, 1.0) if self.total > 0 else 0.0

    @property
    def threads(self) -> float:
        """On how many threads at once each worker computed."""
        return self.cpu / self.cpu_of_thread if self.cpu_of_thread > 0.01 else 1.0


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that made a run slower than it could be."""

    kind: str
    because: str
    """What was seen, with its figure."""

    advice: str
    """What to do."""

    def __str__(self) -> str:
        return f"{self.because}: {self.advice}"


def figures_of(
    snapshot: Snapshot, *, chunksize: int | None = None, reading: float = 0.0, cpus: int | None = None
) -> Figures:
    """Take the figures from a snapshot; what it does not know is given beside it."""
    lanes, elapsed = snapshot.lanes, snapshot.elapsed
    workers = max(snapshot.workers, 1)
    first = sorted(min(lane.joined, elapsed) for lane in lanes)[:workers]
    starting = sum(first) + (workers - len(first)) * elapsed
    occupied = sum(lane.occupied for lane in lanes)
    packing = sum(lane.packing for lane in lanes)
    slowest = (snapshot.slowest[0][1], snapshot.slowest[0][0]) if snapshot.slowest else None
    return Figures(
        elapsed, workers, starting, snapshot.busy, packing,
        transfer=max(occupied - snapshot.busy - packing, 0.0), packing_here=snapshot.packing, reading=reading,
        held=snapshot.held, items=snapshot.done - snapshot.known, chunks=sum(lane.chunks for lane in lanes),
        chunksize=chunksize, moved=snapshot.moved, slowest=slowest, cpu=sum(lane.cpu for lane in lanes),
        cpu_of_thread=sum(lane.cpu_of_thread for lane in lanes), cpus=cpus,
    )  # fmt: skip


def findings(figures: Figures) -> list[Finding]:
    """Return what could be better, what costs most first as far as that can be said."""
    if figures.elapsed < WORTH or not figures.items:
        return []
    looks = (_memory, _threads, _slow_item, _input, _results, _chunks, _starting, _idle_cpu)
    return [finding for look in looks for finding in look(figures)]


def _memory(figures: Figures) -> Iterator[Finding]:
    if figures.held > 0.02 * figures.elapsed:
        yield Finding(
            "memory",
            f"memory ran low: work was held back for {seconds(figures.held)} of {seconds(figures.elapsed)}",
            "use fewer workers, smaller items or results, or renew workers that have grown with "
            "`max_worker_memory=`",
        )


def _threads(figures: Figures) -> Iterator[Finding]:
    if figures.cpu < BUSY * figures.computing:
        return  # what threads of our own took counts for much
    wanted = figures.threads * figures.workers
    if figures.cpus is not None and figures.threads > 1.5 and wanted > 1.25 * figures.cpus:
        yield Finding(
            "threads",
            f"each of {figures.workers} workers computed on {figures.threads:.1f} threads at once, "
            f"on {plural(figures.cpus, 'CPU')}",
            "have each use one, by `OMP_NUM_THREADS=1` before the workers start or by threadpoolctl, "
            "or use fewer workers",
        )


def _slow_item(figures: Figures) -> Iterator[Finding]:
    if figures.slowest is None or figures.workers < 2 or figures.items < 2:
        return
    index, took = figures.slowest
    if (
        took > 0.5 * figures.elapsed
        and figures.efficiency < 0.7
        and took > 3 * figures.computing / figures.items
    ):
        yield Finding(
            "slow item",
            f"item {index} alone took {seconds(took)} of the run's {seconds(figures.elapsed)}",
            "cut it into smaller ones, or put it first in the input",
        )


def _input(figures: Figures) -> Iterator[Finding]:
    if figures.reading > 0.5 * figures.elapsed and figures.waiting > LARGE * figures.total:
        yield Finding(
            "input",
            f"reading the input took {seconds(figures.reading)} of {seconds(figures.elapsed)}, and workers "
            f"waited for {percent(figures.waiting / figures.total)} of their time",
            "move work from the input into the function, or make the input produce faster",
        )


def _results(figures: Figures) -> Iterator[Finding]:
    pickling = figures.packing + figures.packing_here
    if _large(figures) and pickling > 0.3 * figures.computing:
        took = f"pickling took {seconds(pickling)}"
    elif figures.moved > 1_000_000 * figures.chunks and figures.transfer > LARGE * figures.total:
        took = f"sending took {percent(figures.transfer / figures.total)} of the workers' time"
    else:
        return
    yield Finding(
        "results",
        f"{size(figures.moved)} were moved, and {took} for {seconds(figures.computing)} of work",
        "return less, such as a summary or the name of a file, let the function load its data itself, "
        'or use `backend="threads"`, which sends nothing',
    )


def _chunks(figures: Figures) -> Iterator[Finding]:
    lost = (figures.transfer + figures.packing) / figures.total
    work = figures.computing / max(figures.chunks, 1)
    if lost < LARGE or work > TARGET / 5:
        return
    because = f"a chunk was {seconds(work)} of work, and sending took {percent(lost)} of the workers' time"
    each = figures.computing / figures.items
    if figures.chunksize is not None:
        enough = math.ceil(TARGET / each) if each > 0 else 1000
        if enough > figures.chunksize:
            advice = f"leave `chunksize={figures.chunksize}` out, or make it about {enough:,}"
            yield Finding("chunks", because, advice)
    elif not _large(figures):
        yield Finding(
            "chunks",
            because,
            "let an item be more work, such as a batch of what it is now, or do it without workers: "
            '`backend="serial"`',
        )


def _starting(figures: Figures) -> Iterator[Finding]:
    share = figures.starting / figures.total
    if share > LARGE and figures.starting > LONG_START * figures.workers:
        yield Finding(
            "starting",
            f"workers were not there yet for {percent(share)} of the time ({seconds(figures.elapsed)})",
            "keep one pool for several maps, or start it ahead of need",
        )


def _idle_cpu(figures: Figures) -> Iterator[Finding]:
    if figures.cpu > 0 and figures.computing > 0.2 and figures.cpu < BUSY * figures.computing:
        yield Finding(
            "idle CPU",
            f"items used the CPU for {percent(figures.cpu / figures.computing)} of their time and waited "
            "for the rest",
            'more workers than CPUs would help; `backend="threads"` does as well here',
        )


def _large(figures: Figures) -> bool:
    """Whether items and results are more than a few plain values each."""
    return figures.moved > max(1_000_000, 1000 * figures.items)
