"""Analyze where the time of a run went, and how to improve it.

Plain arithmetic on the run's figures.  Every finding has the figure behind it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nbpar.core.chunking import TARGET
from nbpar.core.lanes import Lane
from nbpar.core.snapshot import PackageImports, Snapshot
from nbpar.core.stages import Bottleneck, bottleneck
from nbpar.core.text import percent, plural, seconds, size

WORTH = 0.05
"""Duration of a run in seconds below which there are no findings."""

LARGE = 0.25
"""Share of the workers' time from which a part is mentioned."""

BUSY = 0.2
"""Share of CPU time below which items mostly wait."""

IMPORTS = 0.05
"""Share of the workers' time from which imports are mentioned."""

LONG_IMPORT = 0.1
"""Seconds on each worker from which a package is named."""

NAMED = 3
"""Maximal number of packages named."""

LONG_START = 0.5
"""Seconds until a worker was available that are worth mentioning."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Where the time went, in worker-seconds unless stated otherwise."""

    elapsed: float
    """Wall time of the run in seconds."""

    workers: int = 1
    """Maximal number of concurrent workers."""

    starting: float = 0.0
    """Before workers were available."""

    computing: float = 0.0
    """In the function."""

    packing: float = 0.0
    """Workers unpickled items and pickled values."""

    importing: float = 0.0
    """Workers imported packages that were not loaded, for the function or in it."""

    imports: tuple[PackageImports, ...] = ()
    """Imported packages, slowest first."""

    transfer: float = 0.0
    """Transfer of items and values, with its overhead."""

    packing_here: float = 0.0
    """Wall time in seconds for pickling items and unpickling values in this process."""

    reading: float = 0.0
    """Wall time in seconds for reading the input."""

    held: float = 0.0
    """Wall time in seconds during which low memory throttled work."""

    limited: float = 0.0
    """Wall time in seconds during which the run waited for its rate."""

    rate_limit: str = ""
    """That rate."""

    silent: float = 0.0
    """Workers did not answer; included in the others."""

    silent_workers: tuple[str, ...] = ()
    """Their names, with hosts."""

    items: int = 0
    """Number of items computed."""

    chunks: int = 0
    chunksize: int | None = None
    """The requested chunk size; None if automatic."""

    moved: int = 0
    """Bytes."""

    slowest: tuple[int, float] | None = None
    """Index of the slowest item, and its seconds."""

    cpu: float = 0.0
    """CPU seconds of the workers' processes; 0 if unknown."""

    cpu_of_thread: float = 0.0
    """CPU seconds of only those threads that ran the function."""

    queued: float = 0.0
    """Seconds for which those threads were ready to run without a CPU."""

    cpus: int | None = None
    """Number of CPUs that the workers share; None if unknown."""

    @property
    def total(self) -> float:
        """Worker-seconds of the run."""
        return self.workers * self.elapsed

    @property
    def waiting(self) -> float:
        """Workers were available and idle."""
        spent = self.starting + self.computing + self.importing + self.packing + self.transfer
        return max(self.total - spent, 0.0)

    @property
    def efficiency(self) -> float:
        """Share of the workers' time spent in the function, from 0 to 1."""
        return min(self.computing / self.total, 1.0) if self.total > 0 else 0.0

    @property
    def threads(self) -> float:
        """Average number of threads on which each worker computed."""
        return self.cpu / self.cpu_of_thread if self.cpu_of_thread > 0.01 else 1.0


@dataclass(frozen=True, slots=True)
class Finding:
    """A reason why a run was slower than possible."""

    kind: str
    because: str
    """The observation, with its figure."""

    advice: str
    """The recommendation."""

    def __str__(self) -> str:
        return f"{self.because}: {self.advice}"


def figures_of(
    snapshot: Snapshot, *, chunksize: int | None = None, reading: float = 0.0, cpus: int | None = None
) -> Figures:
    """Extract the figures from a snapshot; the arguments add those it does not have."""
    lanes, elapsed = snapshot.lanes, snapshot.elapsed
    workers = max(snapshot.workers, 1)
    first = sorted(min(lane.joined, elapsed) for lane in lanes)[:workers]
    starting = sum(first) + (workers - len(first)) * elapsed
    occupied = sum(lane.occupied for lane in lanes)
    packing = sum(lane.packing for lane in lanes)
    importing = sum(lane.importing for lane in lanes)
    slowest = (snapshot.slowest[0][1], snapshot.slowest[0][0]) if snapshot.slowest else None
    return Figures(
        elapsed, workers, starting, snapshot.busy, packing, importing, snapshot.imports,
        transfer=max(occupied - snapshot.busy - packing - importing, 0.0), packing_here=snapshot.packing,
        reading=reading,
        held=snapshot.held, limited=snapshot.limited, rate_limit=snapshot.rate_limit,
        items=snapshot.done - snapshot.known, chunks=sum(lane.chunks for lane in lanes),
        chunksize=chunksize, moved=snapshot.moved, slowest=slowest, cpu=sum(lane.cpu for lane in lanes),
        cpu_of_thread=sum(lane.cpu_of_thread for lane in lanes),
        queued=sum(lane.queued for lane in lanes), cpus=cpus,
        silent=sum(lane.silent for lane in lanes),
        silent_workers=tuple(f"{lane.worker} on {lane.host}" for lane in lanes if lane.silent),
    )  # fmt: skip


def findings(figures: Figures) -> list[Finding]:
    """Return possible improvements, the most expensive problem first, as far as costs are known."""
    if figures.elapsed < WORTH or not figures.items:
        return []
    looks = (
        _memory, _rate, _silence, _threads, _slow_item, _input, _results, _chunks, _starting, _imports,
        _idle_cpu, _busy_machine,
    )  # fmt: skip
    return [finding for look in looks for finding in look(figures)]


def _memory(figures: Figures) -> Iterator[Finding]:
    if figures.held > 0.02 * figures.elapsed:
        yield Finding(
            "memory",
            f"memory ran low: work was held back for {seconds(figures.held)} of {seconds(figures.elapsed)}",
            "use fewer workers, smaller items or results, or renew workers that have grown with "
            "`max_worker_memory=`",
        )


def _rate(figures: Figures) -> Iterator[Finding]:
    if figures.limited > 0.02 * figures.elapsed:
        used = max(math.ceil(figures.computing / max(figures.elapsed, 1e-9)), 1)
        yield Finding(
            "rate",
            f"limited by rate {figures.rate_limit}: it waited for that for {seconds(figures.limited)} of "
            f"{seconds(figures.elapsed)}",
            f"{plural(used, 'worker')} would do at this rate; a higher one is the only way to be faster"
            if used < figures.workers
            else "a higher rate is the only way to be faster",
        )


def _silence(figures: Figures) -> Iterator[Finding]:
    if figures.silent > 0.02 * figures.total:
        names = figures.silent_workers
        more = f" and {plural(len(names) - 3, 'other')}" if len(names) > 3 else ""
        yield Finding(
            "silence",
            f"{', '.join(names[:3])}{more} did not answer for {seconds(figures.silent)}",
            "look at the network between here and there, and whether that host is out of memory; "
            "idle workers began its items as well",
        )


def _threads(figures: Figures) -> Iterator[Finding]:
    if figures.cpu < BUSY * figures.computing:
        return  # the time of our own threads distorts the figures
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
            "make items larger, for example batches of the present ones, or do it without workers: "
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


def _imports(figures: Figures) -> Iterator[Finding]:
    """Of the packages that a first map imports, those worth mentioning."""
    if figures.importing < IMPORTS * figures.total:
        return
    slow = [row for row in figures.imports if row.seconds > LONG_IMPORT * row.workers][:NAMED]
    if slow:
        took = [
            f"importing `{row.name}` took {seconds(row.seconds / row.workers)} "
            f"{'on each of' if row.workers > 1 else 'on'} {plural(row.workers, 'worker')}"
            for row in slow
        ]
        names = ", ".join(f'"{row.name}"' for row in slow)
        yield Finding(
            "imports",
            ", ".join(took),
            "the next run on these workers finds it imported; "
            f"`nbpar.Cluster({figures.workers}, preload=[{names}])` imports it once, before workers start",
        )


def _idle_cpu(figures: Figures) -> Iterator[Finding]:
    """Items that wait for something other than a CPU; on a busy machine they may be waiting for one."""
    wanted = figures.cpu + figures.queued
    if figures.cpu > 0 and figures.computing > 0.2 and wanted < BUSY * figures.computing:
        yield Finding(
            "idle CPU",
            f"items used the CPU for {percent(figures.cpu / figures.computing)} of their time and waited "
            "for the rest",
            'more workers than CPUs would help; `backend="threads"` would work just as well',
        )


def _busy_machine(figures: Figures) -> Iterator[Finding]:
    if figures.queued > LARGE * figures.computing and figures.computing > 0.2:
        yield Finding(
            "busy machine",
            f"items waited for a CPU for {percent(figures.queued / figures.computing)} of their time: "
            f"other processes, a limit of this container, or more workers than CPUs took it",
            "use fewer workers, or compare times when the machine is quiet",
        )


def _large(figures: Figures) -> bool:
    """Whether items and results are more than a few plain values each."""
    return figures.moved > max(1_000_000, 1000 * figures.items)


IDLE = 0.5
"""Share of the limiting stage's busy time below which it does not limit the pipeline."""

WORTH_A_WORKER = 1.05
"""Speed-up from which one more worker is recommended."""

COMPUTES = 0.5
"""CPU seconds per second in the function from which it counts as computing, not waiting."""


def limit_of(snapshot: Snapshot, figures: Figures) -> Finding | None:
    """Return the limiting stage of a pipeline; None before any outcome."""
    found = bottleneck(snapshot.stages)
    if found is None:
        return None
    if figures.reading > max(found.load, IDLE) * figures.elapsed:
        read = f"reading it took {seconds(figures.reading)} of {seconds(figures.elapsed)}"
        return Finding("input", f"the input limits, no stage does: {read}", "make it produce faster")
    if found.load < IDLE:
        busy = f"even `{found.stage.name}` was at work for {percent(found.load)} of its time only"
        return Finding("nothing", f"no stage limits, {busy}", "the consumer of the results may be slow")
    return Finding("stage", _because(found), _advice(found, figures))


def _because(found: Bottleneck) -> str:
    stage, busy = found.stage, f"busy for {percent(min(found.load, 1.0))} of the time"
    each = f"`{stage.name}` limits with {seconds(stage.seconds_per_item)} an item"
    workers = plural(stage.workers, "worker")
    if stage.shared:
        return f"{each} of {seconds(found.seconds * stage.workers)} for all stages on their {workers}, {busy}"
    return f"{each} on {workers}, {busy}"


def _advice(found: Bottleneck, figures: Figures) -> str:
    stage = found.stage
    if stage.backend == "serial":
        return "it runs in this thread: give it a worker, and it no longer waits for the others"
    if found.gain < WORTH_A_WORKER:
        return "one more worker there would bring little, because another stage is about as slow: help both"
    brings = f"one more worker there would make the pipeline about {found.gain:.1f} times as fast"
    if stage.backend == "threads":
        return f"{brings}, as far as it releases the GIL"
    if _cpus_are_full(figures):
        own = f"all {figures.cpus} are at work, so make `{stage.name}` itself faster"
        return f"{brings}, if there were a CPU for it; {own}"
    return brings


def _cpus_are_full(figures: Figures) -> bool:
    computes = figures.cpu + figures.queued > COMPUTES * figures.computing
    return figures.cpus is not None and computes and figures.workers >= figures.cpus


SHORT = 0.1
"""Duration of a run in seconds below which the speed-up is too inaccurate."""


def speed_up(snapshot: Snapshot, *, cpus: int | None = None, gil: bool = True) -> float | None:
    """Return the sum of the items' times over the duration of the run.

    Workers that share a CPU take longer for each item, so computing counts on `cpus` CPUs at
    most; items that mostly wait count on every worker.

    Args:
        snapshot: the run.
        cpus: the number of CPUs that its workers share; None if unknown.
        gil: threads of one process take turns.

    Returns:
        None if there is nothing to compare (one worker, a moment) or the items' times are misleading:
        those of threads that take turns include the time of the others.
    """
    if snapshot.workers < 2 or snapshot.elapsed < SHORT or not snapshot.busy:
        return None
    if gil and _in_one_process(snapshot.lanes):
        return None
    gain = snapshot.busy / snapshot.elapsed
    return gain if cpus is None or _mostly_waits(snapshot) else min(gain, float(cpus))


def _in_one_process(lanes: Sequence[Lane]) -> bool:
    """Whether some of the workers are threads of one process."""
    processes = [lane.process for lane in lanes if lane.pid]
    return len(set(processes)) < len(processes)


def _mostly_waits(snapshot: Snapshot) -> bool:
    cpu = sum(lane.cpu for lane in snapshot.lanes)
    return 0 < cpu < BUSY * snapshot.busy
