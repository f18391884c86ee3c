"""A small world around a scheduler: workers, inputs and consumers that behave by chance.

It checks every promise at every step, from the outside: it keeps its own account of each
item and compares it with what the scheduler hands out.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from nbpar.core.chunking import Chunker
from nbpar.core.outcome import Failure, Part
from nbpar.core.retry import Retry
from nbpar.core.runstate import RunState
from nbpar.core.scheduler import SUSPECT, Assignment, Scheduler

MOST_DEATHS = 6
"""A chunk of many items comes back in pieces, and those in pieces, down to one item that is tried twice."""


class Poison(Exception):
    """Stands for the death of a worker in the account of outcomes."""


@dataclass
class Plan:
    """What a run is like."""

    items: int = 20
    ordered: bool = True
    streaming: bool = False
    buffersize: int | None = None
    chunksize: int | None = None
    seconds: float = 0.01
    retries: int = 0
    late: bool = False
    """Items arrive by and by, and nobody knows how many."""

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
    """One run, and what has become of its items so far."""

    def __init__(self, number: int, plan: Plan) -> None:
        source = LateSource(plan.items) if plan.late else ReadySource(0 if plan.pinned else plan.items)
        self.plan = plan
        self.source = source
        self.state = RunState(
            number, source, Chunker(plan.chunksize), ordered=plan.ordered, streaming=plan.streaming,
            buffersize=plan.buffersize, retry=Retry(plan.retries, jitter=0.0), dice=lambda: 0.0,
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


@dataclass
class Worker:
    name: str
    calls: deque[Assignment] = field(default_factory=deque)


class World:
    """A scheduler with all that is around it."""

    def __init__(self, seed: int, *, workers: int = 2) -> None:
        self.random = random.Random(seed)
        self.now = 0.0
        self.scheduler = Scheduler()
        self.workers: dict[str, Worker] = {}
        self.accounts: list[Account] = []
        self._names = iter(range(10**9))
        for _ in range(workers):
            self.join()

    # ---- what may happen

    def join(self) -> None:
        worker = Worker(f"w{next(self._names)}")
        self.workers[worker.name] = worker
        self.scheduler.join(worker.name)

    def add(self, plan: Plan) -> Account:
        account = Account(len(self.accounts), plan)
        if plan.pinned:
            account.state.pin(self.workers, 0)
            account.items = len(self.workers)
            account.given_back = set(range(account.items))
        self.accounts.append(account)
        self.scheduler.add(account.state)
        return account

    def assign(self) -> None:
        """Do what a driver does at every turn, and look whether anything is left lying."""
        for run in self.scheduler.attended:
            run.ask(len(self.workers))
            self._forget_if_done(self.accounts[run.id])
        for assignment in self.scheduler.assign(self.now):
            self._hand_out(assignment)
        self._check_that_nobody_is_idle_without_a_reason()

    def answer(self, worker: Worker) -> None:
        """Let a worker answer its first call, whole or in part, or die of it."""
        call = worker.calls[0]
        account = self._account(call)
        left = len(call.chunk.items) - call.done
        count = left if self.random.random() < 0.7 else self.random.randint(0, left)
        final = count == left or self.random.random() < 0.2  # or it was interrupted
        first = call.chunk.first + call.done
        for index in range(first, first + count):
            if index in account.plan.poison:
                self._answer_values(worker, call, first, index - first, final=False)
                self.die(worker)
                return
        self._answer_values(worker, call, first, count, final=final)

    def die(self, worker: Worker) -> None:
        """Let a worker die of its first call, or of a later one when calls are so short that answers wait."""
        guilty = [call for n, call in enumerate(worker.calls) if n == 0 or call.expected < SUSPECT]
        for call in guilty:
            account = self._account(call)
            rest = range(call.chunk.first + call.done, call.chunk.first + len(call.chunk.items))
            account.deaths.update(rest)
        self._part(worker, died=True)

    def leave(self, worker: Worker) -> None:
        """Let a worker go in peace."""
        self._part(worker, died=False)

    def consume(self, account: Account, most: int) -> None:
        items = min(most, account.unconsumed)
        account.unconsumed -= items
        account.state.consume(items)

    def cancel(self, account: Account) -> None:
        if account.state.id in self.scheduler.runs:
            under_way = self.scheduler.remove(account.state)
            assert {call.id for call in under_way} == {
                call.id
                for worker in self.workers.values()
                for call in worker.calls
                if call.run is account.state
            }
            account.cancelled = True
            account.deliver(account.state.flush(), [])

    def wait(self) -> None:
        """Let time go on to the next retry."""
        due = self.scheduler.due(self.now)
        self.now = self.now + 0.01 if due is None else due

    # ---- the whole story

    def live(self, steps: int, chances: dict[str, float]) -> None:
        """Let things happen by chance."""
        names, weights = list(chances), list(chances.values())
        for _ in range(steps):
            self.assign()
            self._happen(self.random.choices(names, weights)[0])

    def end(self) -> None:
        """Let everything come to its end without further trouble, and check all accounts."""
        for _ in range(20_000):
            for account in self.accounts:
                account.state.paused = False
                account.source.arrive(100)
                self.consume(account, 10**6)
            if not self.workers:
                self.join()
            self.assign()
            busy = [worker for worker in self.workers.values() if worker.calls]
            if busy:
                self.answer(self.random.choice(busy))
            elif not self.scheduler.runs:
                break
            else:
                self.wait()
        self._check_that_nothing_is_left()
        for account in self.accounts:
            account.check()

    def _happen(self, what: str) -> None:
        workers = list(self.workers.values())
        busy = [worker for worker in workers if worker.calls]
        account = self.random.choice(self.accounts)
        if what == "answer" and busy:
            self.now += self.random.random() * 0.01
            self.answer(self.random.choice(busy))
        elif what == "die" and len(workers) > 1:
            self.die(self.random.choice(workers))
        elif what == "leave" and len(workers) > 1:
            self.leave(self.random.choice(workers))
        elif what == "join" and len(workers) < 6:
            self.join()
        elif what == "consume":
            self.consume(account, self.random.randint(1, 10))
        elif what == "arrive":
            account.source.arrive(self.random.randint(1, 5))
        elif what == "cancel":
            self.cancel(account)
        elif what == "pause":
            account.state.paused = not account.state.paused
        elif what == "wait":
            self.wait()

    # ---- inside

    def _account(self, call: Assignment) -> Account:
        return self.accounts[call.run.id]

    def _hand_out(self, assignment: Assignment) -> None:
        worker, account = self.workers[assignment.worker], self._account(assignment)
        assert len(worker.calls) < account.state.chunker.window(), "a window is exceeded"
        assert not any(call.chunk.deaths for call in worker.calls), "something waits behind a deadly chunk"
        assert not (assignment.chunk.deaths and worker.calls), "a deadly chunk waits behind something"
        assert assignment.alone == (not worker.calls)
        if account.plan.pinned:
            assert account.state.pinned is not None
            assert account.state.pinned[assignment.chunk.first] == worker.name
        account.take(assignment, self.now)
        worker.calls.append(assignment)
        assert self.scheduler.load(worker.name) == len(worker.calls)

    def _answer_values(
        self, worker: Worker, call: Assignment, first: int, count: int, *, final: bool
    ) -> None:
        account = self._account(call)
        failures = {}
        for index in range(first, first + count):
            error = None if account.cancelled else account.outcome(index)
            if error is not None:
                failures[index] = Failure(index, index, error, attempts=call.chunk.attempt)
        seconds = account.plan.seconds * count
        account.used += seconds
        known = self.scheduler.answer(call.id, count, seconds, self.now, final=final)
        assert known is call
        if final:
            worker.calls.popleft()
            account.under_way.difference_update(range(first, call.chunk.first + len(call.chunk.items)))
            account.given_back.update(range(first + count, call.chunk.first + len(call.chunk.items)))
        else:
            account.under_way.difference_update(range(first, first + count))
        if not account.cancelled:
            self._settle(call, first, [i * 10 for i in range(first, first + count)], failures)

    def _settle(
        self,
        call: Assignment,
        first: int,
        values: list[int],
        failures: dict[int, Failure],
        *,
        hopeless: bool = False,
    ) -> None:
        account = self._account(call)
        parts, final = self.scheduler.settle(call, first, values, failures, self.now, hopeless=hopeless)
        gone = {failure.index for failure in final}
        for index in range(first, first + len(values)):
            if index not in failures:
                account.values.add(index)
            elif index not in gone:
                delay = account.state.retry.delay_before(account.attempts[index] + 1)
                account.later[index] = self.now + delay
                account.given_back.add(index)
        account.deliver(parts, final)
        self._forget_if_done(account)

    def _part(self, worker: Worker, *, died: bool) -> None:
        del self.workers[worker.name]
        for call in worker.calls:
            rest = range(call.chunk.first + call.done, call.chunk.first + len(call.chunk.items))
            self._account(call).under_way.difference_update(rest)
            self._account(call).given_back.update(rest)
        for call in self.scheduler.lose(worker.name, died=died):
            index = call.chunk.first
            account = self._account(call)
            account.given_back.discard(index)
            assert died or account.plan.pinned, "a worker left in peace and an item pays for it"
            if account.plan.pinned:
                account.deaths[index] = max(1, account.deaths[index])
            assert len(call.chunk.items) == 1
            if not account.cancelled:
                failure = Failure(index, index, Poison(index))
                self._settle(call, index, [0], {index: failure}, hopeless=True)
        assert self.scheduler.lose(worker.name) == []

    def _forget_if_done(self, account: Account) -> None:
        if account.state.done and account.state.id in self.scheduler.runs:
            self.scheduler.remove(account.state)

    def _check_that_nobody_is_idle_without_a_reason(self) -> None:
        for worker in self.workers.values():
            if worker.calls:
                continue
            for account in self._active():
                waiting = account.waiting(self.now, worker.name)
                assert not waiting, f"{worker.name} is idle although items {waiting} wait"
                assert not self._could_take(account), f"{worker.name} is idle although input is ready"

    def _could_take(self, account: Account) -> bool:
        state, plan = account.state, account.plan
        if plan.pinned or not account.source.ready:
            return False
        held = state.taken - state.consumed
        return not plan.streaming or held == 0 or (plan.buffersize is not None and held < plan.buffersize)

    def _active(self) -> Iterator[Account]:
        return (account for account in self.accounts if not account.cancelled and not account.state.paused)

    def _check_that_nothing_is_left(self) -> None:
        assert not self.scheduler.runs
        assert self.scheduler.due(self.now) is None
        for name, worker in self.workers.items():
            assert not worker.calls
            assert self.scheduler.load(name) == 0
            assert self.scheduler.head(name) is None
        assert set(self.scheduler.workers) == set(self.workers)
        assert not self.scheduler._calls
        assert not self.scheduler._delayed
        assert not self.scheduler.attended
        for account in self.accounts:
            state = account.state
            assert state.done
            assert not state.running
            assert not [*state._again, *state._later, *state._held]
