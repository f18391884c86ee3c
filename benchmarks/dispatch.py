"""Measure what a call costs the client by number of workers, without processes and sockets.

Simulated workers answer in turn, a number of them between two steps of the dispatcher.  The figures are
microseconds of CPU time per call, from its assignment to its delivered outcome; pickling and sockets come
on top, and cost the same for any number of workers.  The last column is for calls of 20 µs, which travel
together.  Compare ratios within a run:

    python benchmarks/dispatch.py [--calls N]
"""

from __future__ import annotations

import argparse
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from nbpar.core.chunking import MOST_JOINED, Chunker
from nbpar.core.scheduling.runstate import RunState
from nbpar.core.source import SequenceSource
from nbpar.dispatch.driver import Driver
from nbpar.dispatch.job import Job
from nbpar.dispatch.workforce import Workforce
from nbpar.run.run import Run
from nbpar.wire.messages import NO_COSTS, Call, Done, Load, Message, Ready
from nbpar.wire.pickling import Packed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ITEM = 0.005
"""Seconds that an item takes, on the simulated clock."""

SHORT_ITEM = 2e-5
"""The same of an item that shares its message with others."""

WORKERS = (2, 16, 256, 1024)

PER_STEP = (1, 16, 0)
"""Answers that arrive together; 0: one from each worker."""

CALLS = 4000


class SimulatedWorkers:
    """A backend whose workers answer their calls in the order in which these were sent."""

    in_process = True
    blocking = True
    interrupts = None

    def __init__(self, number: int, item: float = ITEM) -> None:
        self._item = item
        self.workers = [f"worker {place}" for place in range(number)]
        self._sent: deque[tuple[str, Call]] = deque()

    def answers(self, number: int) -> list[tuple[str, Message]]:
        """Return the answers of the oldest calls."""
        return list(self._answers(min(number, len(self._sent))))

    def _answers(self, number: int) -> Iterator[tuple[str, Message]]:
        for _ in range(number):
            worker, call = self._sent.popleft()
            seconds = self._item * len(call.items)
            yield (
                worker,
                Done(call.id, call.first, True, False, seconds, (), 0, {}, NO_COSTS, 0, list(call.items)),
            )

    def send(self, worker: str, messages: Sequence[Message]) -> None:
        """Take calls; nothing else concerns these workers."""
        self._sent.extend((worker, message) for message in messages if isinstance(message, Call))

    def describe(self) -> list[dict[str, object]]:
        """Return the workers."""
        return [{"worker": worker} for worker in self.workers]

    def coming(self) -> Sequence[str]:
        """Return nothing: all workers are here."""
        return ()

    def acquire(self) -> None:
        """Do nothing: all workers are here."""

    def keep_packed(self, call: int) -> None:
        """Do nothing: no values are packed."""

    def take_pickled(self) -> Sequence[tuple[int, Packed]]:
        return ()

    def in_transit(self, worker: str) -> tuple[int, int]:
        return 0, 0

    def receive(self, timeout: float | None) -> list[tuple[str, Message]]:
        """Return the answers of all calls."""
        return self.answers(len(self._sent))

    def wake(self) -> None:
        """Do nothing: no thread waits."""

    def interrupt(self, worker: str, *, skip: bool = False) -> bool:
        """Return False: nothing runs."""
        return False

    def kill(self, worker: str, reason: str) -> bool:
        """Return False: nothing runs."""
        return False

    def release(self, worker: str) -> None:
        """Do nothing."""

    def retire(self, worker: str) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class _Here:
    """Stands for the dispatcher of a run."""

    blocking = True
    here = True

    def start(self, job: Job) -> None:
        """Do nothing: the benchmark does."""

    def stop(self, job: Job, error: BaseException | None) -> None:
        """Do nothing."""

    def request(self, action: Callable[[], None]) -> None:
        """Do it at once."""
        action()

    def step(self) -> None:
        """Do nothing: the benchmark does."""


class Simulation:
    """A map of many items over simulated workers, a call for each item.

    Args:
        workers: their number.
        items: the number of items.
        item: seconds that each takes.
    """

    def __init__(self, workers: int, items: int, item: float = ITEM) -> None:
        self.backend = SimulatedWorkers(workers, item)
        self._item = item
        self.now = 0.0
        self._workers = workers
        self.driver = Driver(
            self.backend, Workforce(self.backend, None), expecting=lambda: False, problem=str, awaited=str,
            now=0.0, request=lambda action: action(),
        )  # fmt: skip
        state = RunState(1, SequenceSource(range(items)), Chunker(1, joins=True))
        run = Run(_Here(), label="items", errors="raise", streaming=False)
        job = Job(state, run, Load(b"f", "f", None), None, "items", items)
        run.prepare(job)
        self.driver.begin(job, self.now)
        facts: dict[str, Any] = {"host": "here", "pid": 1}
        joined = [(name, Ready({"worker": name, **facts})) for name in self.backend.workers]
        self.driver.take(joined, self.now)

    def step(self, answers: int) -> int:
        """Send what the workers can take, and take a number of answers; return how many items they had."""
        self.driver.prepare(self.now, busy=True)
        self.driver.pause_before(self.now)
        self.now += self._item * answers / self._workers
        arrived = self.backend.answers(answers)
        self.driver.take(arrived, self.now)
        return sum(len(done.values) for _, done in arrived)


def microseconds_per_call(workers: int, per_step: int, calls: int, item: float = ITEM) -> float:
    """Return the CPU time of a call when so many are answered together; each worker is warm."""
    simulation = Simulation(workers, calls + 3 * MOST_JOINED * workers, item)
    for _ in range(2):
        simulation.step(workers)
    done, begun = 0, time.process_time()
    while done < calls:
        done += simulation.step(per_step)
    return (time.process_time() - begun) / done * 1e6


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--calls", type=int, default=CALLS, help="calls that are measured in each cell")
    calls = parser.parse_args(arguments).calls
    titles = [*(f"{n} together" if n else "all together" for n in PER_STEP), "short"]
    print(f"{'workers':>8}" + "".join(f"{title:>14}" for title in titles))
    for workers in WORKERS:
        figures = [microseconds_per_call(workers, per_step or workers, calls) for per_step in PER_STEP]
        figures.append(microseconds_per_call(workers, workers, 100 * workers + calls, SHORT_ITEM))
        print(f"{workers:>8}" + "".join(f"{figure:>11.1f} µs" for figure in figures), flush=True)


if __name__ == "__main__":
    main()
