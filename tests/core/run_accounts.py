"""Runs of the scheduler's simulation: a plan, an input, and an account of every item."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from nbpar.core.chunking import Chunker
from nbpar.core.outcome import Failure, Part
from nbpar.core.rates.retry import Retry
from nbpar.core.scheduling.needs import Claim, Needs
from nbpar.core.scheduling.runstate import RunState
from nbpar.core.scheduling.windows import Assignment

CORES = 3.0

MOST_DEATHS = 7
"""A chunk of many items comes back in pieces, and those in pieces, down to one item that is tried twice.

Once more if only the last death was for lack of memory.
"""


class Poison(Exception):
    """Stands for the death of a worker in the account of outcomes."""


@dataclass
class Plan:
    """The properties of a run."""

    items: int = 20
    ordered: bool = True
    streaming: bool = False
    buffersize: int | None = None
    chunksize: int | None = None
    joins: bool = False
    seconds: float = 0.01
    retries: int = 0
    late: bool = False
    """Items arrive gradually, and their number is unknown."""

    most_workers: int | None = None
    cores: float = 0.0
    """What an item needs of the host, which has `CORES`."""

    pinned: bool = False
    failing: dict[int, int] = field(default_factory=dict)
    """Index to the number of attempts that fail."""

    poison: frozenset[int] = frozenset()


class LateSource:
    """An input that gives an item now and then."""

    def __init__(self, items: int) -> None:
        self._items = items
        self._taken = self._arrived = self.wanted = 0
        self.ended = not items

    remaining = None

    @property
    def ready(self) -> bool:
        return self._arrived > self._taken

    def take(self, limit: int, *, eager: bool) -> range:
        here = min(limit, self._arrived - self._taken)
        if here < limit and not eager and self._arrived < self._items:
            return range(0)
        self._taken += here
        self.ended = self._taken == self._items
        return range(self._taken - here, self._taken)

    def want(self, total: int) -> None:
        self.wanted = max(self.wanted, total)

    def arrive(self, items: int) -> bool:
        before = self._arrived
        self._arrived = min(self._arrived + items, self.wanted, self._items)
        return self._arrived > before


class ReadySource(LateSource):
    """An input that is all here."""

    def __init__(self, items: int) -> None:
        super().__init__(items)
        self._arrived = items

    @property
    def remaining(self) -> int:
        return self._items - self._taken


class Account:
    """One run, and the state of each of its items."""

    def __init__(self, number: int, plan: Plan) -> None:
        source = LateSource(plan.items) if plan.late else ReadySource(0 if plan.pinned else plan.items)
        self.plan = plan
        self.source = source
        self.state = RunState(
            number, source, Chunker(plan.chunksize, joins=plan.joins), ordered=plan.ordered,
            streaming=plan.streaming,
            buffersize=plan.buffersize, most_workers=plan.most_workers,
            retry=Retry(plan.retries, jitter=0.0), dice=lambda: 0.0,
            claim=Claim(Needs(0, plan.cores), self.stir) if plan.cores else None,
        )  # fmt: skip
        self.items = plan.items
        self.delivered: list[Part] = []
        self.values: set[int] = set()
        self.failures: dict[int, Failure] = {}
        self.under_way: set[int] = set()
        self.given_back: set[int] = set()
        """Items that were taken from the input and are to run (again)."""

        self.attempts: Counter[int] = Counter()
        self.deaths: Counter[int] = Counter()
        self.later: dict[int, float] = {}
        self.unconsumed = 0
        self.cancelled = False
        self.used = 0.0

    def stir(self) -> None:
        if self.state.watcher is not None:
            self.state.watcher.touch(self.state)

    def waiting(self, now: float, worker: str) -> set[int]:
        """Items that were taken and could run now on this worker."""
        return {
            index
            for index in self.given_back
            if self.later.get(index, now) <= now
            and (self.state.pinned is None or self.state.pinned[index] == worker)
        }

    def take(self, assignment: Assignment, now: float) -> None:
        chunk = assignment.chunk
        mine = set(range(chunk.first, chunk.first + len(chunk.items)))
        assert len(mine) > 0
        assert not mine & self.values, "an item that has its outcome is run again"
        assert not mine & self.failures.keys(), "an item that has its outcome is run again"
        assert not mine & self.under_way, "an item runs twice at once"
        assert all(self.later.pop(i, now) <= now for i in mine), "a retry begins before its time"
        assert not self.cancelled
        assert not self.state.paused
        if not self.plan.pinned:
            assert list(chunk.items) == sorted(mine), "a chunk holds other items than its indices say"
        self.under_way |= mine
        self.given_back -= mine
        if self.plan.streaming and self.plan.buffersize is not None:
            assert self.state.taken - self.state.consumed <= self.plan.buffersize, "it looks too far ahead"

    def pause(self) -> None:
        self.state.paused = not self.state.paused

    def outcome(self, index: int) -> ValueError | None:
        self.attempts[index] += 1
        return ValueError(index) if self.plan.failing.get(index, 0) >= self.attempts[index] else None

    def deliver(self, parts: list[Part], failures: list[Failure]) -> None:
        for part in parts:
            self.delivered.append(part)
            self.unconsumed += len(part.values)
        self.failures.update({failure.index: failure for failure in failures})

    def check(self) -> None:
        """Check the account of a run that is over."""
        indices = [index for part in self.delivered for index in range(part.first, part.stop)]
        assert len(indices) == len(set(indices)), "an item is delivered twice"
        if self.plan.ordered:
            assert indices == sorted(indices), "results are out of order"
        if not self.cancelled:
            assert sorted(indices) == list(range(self.items)), "an item is missing"
        for part in self.delivered:
            for index, value in enumerate(part.values, part.first):
                self._check_item(index, value, part.failures.get(index))

    def _check_item(self, index: int, value: object, failure: Failure | None) -> None:
        if failure is None:
            assert value == index * 10
            assert index not in self.plan.poison, "a poisonous item has a value"
            assert self.plan.failing.get(index, 0) <= self.plan.retries
        elif isinstance(failure.exception, Poison):
            assert self.deaths[index] >= (1 if self.plan.pinned else 2), "given up after one death"
        else:
            assert self.plan.failing[index] > self.plan.retries, "given up too early"
        assert self.deaths[index] <= MOST_DEATHS
