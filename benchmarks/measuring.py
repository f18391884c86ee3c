"""Time workloads on open peers, in turns, so that noise of the machine affects all of them alike."""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.deadline import deadline
from benchmarks.peer import Unsupported
from benchmarks.workloads import noop, sleep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from benchmarks.peer import Peer
    from benchmarks.peers import Nbpar
    from benchmarks.workloads import Workload

MIB = 1 << 20
FIRST_GUESS = 200
SAMPLE_EVERY = 10_000
LONGEST_CALL = 60.0


@dataclass(frozen=True, slots=True)
class Measurement:
    """The times of one peer with one workload."""

    workload: Workload
    """The section."""

    peer: str
    """The peer's key."""

    workers: int
    """Number of the peer's workers."""

    items: int
    """Items per call; fewer than the workload's where a call would have taken too long."""

    seconds: tuple[float, ...]
    """Seconds of each call."""

    problem: str = ""
    """Why there is no result."""

    @property
    def best(self) -> float:
        """Seconds of the fastest call."""
        return min(self.seconds)

    @property
    def median(self) -> float:
        """Seconds of the median call."""
        return median(self.seconds)


@dataclass(frozen=True, slots=True)
class Growth:
    """Growth of the memory in use during a long stream of results."""

    peer: str
    """The peer's key."""

    items: int
    """Number of results that were streamed."""

    seconds: float
    """Seconds that this took."""

    client: float
    """Most growth of this process while it streamed, in MiB."""

    workers: float
    """Most growth of a worker from before to after, in MiB."""

    problem: str = ""
    """Why there is no result."""


def warm_up(peer: Peer, workers: int) -> None:
    """Give every worker something to do, so that all of them have started and imported."""
    with deadline(LONGEST_CALL):
        peer.map(sleep, range(8 * workers), cheap=False)
        peer.map(noop, range(8 * workers), cheap=True)


def measure(
    workload: Workload, peers: Sequence[Peer], workers: int, *, rounds: int, budget: float
) -> Iterator[Measurement]:
    """Time a workload on all peers; each round begins with the next of them.

    A peer that would need more than `budget` seconds for a call gets fewer items.  One that
    fails is left out of the further rounds; its `problem` says why.
    """
    sizes: dict[str, int] = {}
    seconds: dict[str, list[float]] = {peer.key: [] for peer in peers}
    problems: dict[str, str] = {}
    for turn in range(rounds):
        for peer in rotated(peers, turn):
            if peer.key in problems:
                continue
            try:
                if peer.key not in sizes:
                    sizes[peer.key] = fitting_items(workload, peer, budget)
                seconds[peer.key] += _timed_calls(workload, peer, sizes[peer.key])
            except Exception as error:
                problems[peer.key] = describe(error)
    for peer in peers:
        size = sizes.get(peer.key, workload.items)
        problem = problems.get(peer.key, "")
        yield Measurement(workload, peer.key, workers, size, tuple(seconds[peer.key]), problem)


def rotated(peers: Sequence[Peer], turn: int) -> list[Peer]:
    """Begin with another peer each time, so that none always follows the same one."""
    start = turn % max(1, len(peers))
    return [*peers[start:], *peers[:start]]


def fitting_items(workload: Workload, peer: Peer, budget: float) -> int:
    """Try ever more items to find how many of the workload's fit into the budget."""
    return fit(lambda items: timed(workload, peer, items), workload.items, budget)


def fit(seconds_for: Callable[[int], float], most: int, budget: float) -> int:
    """Find how many items fit into `budget` seconds: `most`, or a round number below it."""
    items = min(most, FIRST_GUESS)
    while items < most:
        seconds = seconds_for(items)
        if seconds > budget / 10:
            return min(most, max(1, round_down(items * budget / seconds)))
        items = min(most, 10 * items)
    return most


def round_down(number: float) -> int:
    """Round down to 1, 2 or 5 times a power of ten."""
    power = 1
    while power * 10 <= number:
        power *= 10
    return max(step * power for step in (1, 2, 5) if step * power <= max(1, number))


def _timed_calls(workload: Workload, peer: Peer, items: int) -> list[float]:
    # Wake workers that went to sleep during other peers' turns.
    with deadline(LONGEST_CALL):
        peer.map(noop, range(4), cheap=False)
    gc.collect()
    return [timed(workload, peer, items) for _ in range(workload.calls)]


def timed(workload: Workload, peer: Peer, items: int) -> float:
    """Time one call, and check its answers outside of the time."""
    given = list(range(items))
    with deadline(LONGEST_CALL):
        began = time.perf_counter()
        if workload.one_by_one:
            results = peer.map_one_by_one(workload.function, given)
        elif workload.submitted:
            results = peer.submit_each(workload.function, given)
        else:
            results = peer.map(workload.function, given, cheap=workload.cheap)
        seconds = time.perf_counter() - began
    if results != given:
        raise WrongAnswer(f"returned {len(results)} results for {items} items, or others than expected")
    return seconds


class WrongAnswer(Exception):  # noqa: N818 (it is the peer's fault)
    """A peer returned something else than it should."""


def stream(peer: Nbpar, items: int) -> Growth:
    """Watch the memory while `imap` streams many results out of a generator."""
    import psutil

    here = psutil.Process()
    gc.collect()
    workers_before = peer.each(resident_memory)
    before = peak = here.memory_info().rss
    began = time.perf_counter()
    for expected, result in enumerate(peer.stream(noop, _endless(items))):
        if result != expected:
            raise WrongAnswer(f"result {expected} was {result!r}")
        if expected % SAMPLE_EVERY == 0:
            peak = max(peak, here.memory_info().rss)
    seconds = time.perf_counter() - began
    peak = max(peak, here.memory_info().rss)
    grown = max(map(int.__sub__, peer.each(resident_memory), workers_before))
    return Growth(peer.key, items, seconds, (peak - before) / MIB, grown / MIB)


def _endless(items: int) -> Iterator[int]:
    # A generator, so that the number of items is not known in advance.
    yield from range(items)


def resident_memory() -> int:
    """Bytes of memory that this process has in use."""
    import psutil

    return int(psutil.Process().memory_info().rss)


def watched(peer: Nbpar, items: int) -> Growth:
    """Stream as `stream` does; a failure is a result too."""
    try:
        with deadline(LONGEST_CALL):
            return stream(peer, items)
    except Exception as error:
        return Growth(peer.key, items, 0.0, 0.0, 0.0, describe(error))


def describe(error: Exception) -> str:
    """Describe an error in one short line."""
    if isinstance(error, Unsupported):
        return str(error)
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"[:90]
