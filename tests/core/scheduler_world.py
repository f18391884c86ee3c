"""A simulated world around a scheduler: workers, inputs and consumers that act at random.

It checks every promise at every step, from the outside: it keeps its own account of each
item and compares it with what the scheduler hands out.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from run_accounts import CORES, Account, Plan, Poison

from nbpar.core.outcome import Failure
from nbpar.core.scheduling.needs import Host
from nbpar.core.scheduling.scheduler import Scheduler
from nbpar.core.scheduling.windows import SUSPECT, Assignment


@dataclass
class Worker:
    name: str
    calls: deque[Assignment] = field(default_factory=deque)
    retiring: bool = False
    held: bool = False


class World:
    """A scheduler with all that is around it."""

    def __init__(self, seed: int, *, workers: int = 2) -> None:
        self.random = random.Random(seed)
        self.now = 0.0
        self.scheduler = Scheduler()
        self.host = Host(0, CORES)
        self.workers: dict[str, Worker] = {}
        self.accounts: list[Account] = []
        self._names = iter(range(10**9))
        for _ in range(workers):
            self.join()

    # ---- what may happen

    def join(self) -> None:
        worker = Worker(f"w{next(self._names)}")
        self.workers[worker.name] = worker
        self.scheduler.join(worker.name, self.host)

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
        for worker in self.scheduler.windows.retired():
            self.leave(self.workers[worker])
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
        self._part(worker, died=True, starved=self.random.random() < 0.3)

    def leave(self, worker: Worker) -> None:
        """Let a worker leave normally."""
        self._part(worker, died=False)

    def retire(self, worker: Worker) -> None:
        """Let a worker leave after its current call."""
        worker.retiring = True
        for call in self.scheduler.retire(worker.name):
            self.hand_back(call)

    def hold(self, worker: Worker) -> None:
        """Take a worker away for something else, or give it back."""
        if worker.held:
            self.scheduler.free(worker.name)
        else:
            for call in self.scheduler.hold(worker.name):
                self.hand_back(self.scheduler.windows.call(call))
        worker.held = not worker.held

    def recall(self) -> None:
        """Let workers return the items that wait behind a slow one."""
        for call in self.scheduler.windows.recall(self.now):
            worker = self.workers[call.worker]
            assert call.cut or call is not worker.calls[0]
            assert any(self._could_help(other, call) for other in self.workers.values())
            if call is worker.calls[0]:
                self.shorten(call)
            else:
                self.hand_back(call)

    def hand_back(self, call: Assignment) -> None:
        """Let a worker answer that it has not begun a call, or let it be too late for that."""
        if self.random.random() < 0.2:
            return
        worker = self.workers[call.worker]
        worker.calls.remove(call)
        mine = range(call.chunk.first + call.done, call.chunk.first + len(call.chunk.items))
        self._account(call).under_way.difference_update(mine)
        self._account(call).given_back.update(mine)
        self.scheduler.answer(call, 0, 0.0, self.now, final=True)
        if not self._account(call).cancelled:
            self._settle(call, call.chunk.first, [], {})

    def shorten(self, call: Assignment) -> None:
        """Let a worker end a call with the item at hand, or let it be too late for that.

        Meanwhile it may have begun any of the items that it has not answered.
        """
        number = len(call.chunk.items)
        if number - call.done < 2 or self.random.random() < 0.2:
            return
        kept = self.random.randint(call.done + 1, number)
        given_back = range(call.chunk.first + kept, call.chunk.first + number)
        account = self._account(call)
        account.under_way.difference_update(given_back)
        account.given_back.update(given_back)
        self.scheduler.shorten(call.id, kept)
        assert len(call.chunk.items) == kept

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
        """Let random events happen."""
        names, weights = list(chances), list(chances.values())
        for _ in range(steps):
            self.assign()
            self._happen(self.random.choices(names, weights)[0])

    def end(self) -> None:
        """Let everything end without further faults, and check all accounts."""
        for _ in range(20_000):
            for account in self.accounts:
                account.state.paused = False
                account.source.arrive(100)
                self.consume(account, 10**6)
            for worker in list(self.workers.values()):
                if worker.held:
                    self.hold(worker)
            if not self.workers:
                self.join()
            self.assign()
            self.recall()
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
        """Let one event happen to a worker or run for which it is possible, if there is one."""
        workers = list(self.workers.values())
        staying = [worker for worker in workers if not worker.retiring]
        busy = [worker for worker in workers if worker.calls]
        dice = self.random
        on_workers = {
            "answer": (self._answer_later, busy),
            "die": (self.die, workers[1:]),
            "leave": (self.leave, workers[1:]),
            "retire": (self.retire, staying[1:]),
            "hold": (self.hold, workers),
        }
        on_accounts = {
            "consume": lambda account: self.consume(account, dice.randint(1, 10)),
            "arrive": lambda account: account.source.arrive(dice.randint(1, 5)),
            "cancel": self.cancel,
            "pause": lambda account: account.pause(),
        }
        if what in on_workers:
            act, candidates = on_workers[what]
            if candidates:
                act(dice.choice(candidates))
        elif what in on_accounts:
            on_accounts[what](dice.choice(self.accounts))
        elif what != "join" or len(workers) < 6:
            {"join": self.join, "recall": self._recall_later, "wait": self.wait}[what]()

    def _answer_later(self, worker: Worker) -> None:
        self.now += self.random.random() * 0.01
        self.answer(worker)

    def _recall_later(self) -> None:
        self.now += self.random.random() * 0.2
        self.assign()
        self.recall()

    # ---- inside

    def _account(self, call: Assignment) -> Account:
        return self.accounts[call.run.id]

    def _hand_out(self, assignment: Assignment) -> None:
        worker, account = self.workers[assignment.worker], self._account(assignment)
        assert len(worker.calls) < account.state.chunker.window, "a window is exceeded"
        assert not any(call.chunk.deaths for call in worker.calls), "something waits behind a deadly chunk"
        assert not (assignment.chunk.deaths and worker.calls), "a deadly chunk waits behind something"
        others = [call for other in self.workers.values() for call in other.calls]
        assert not (assignment.chunk.starved and others), "what needs all memory begins beside others"
        assert not any(call.chunk.starved for call in others), "something begins beside what needs all memory"
        assert assignment.alone == (not worker.calls)
        assert not worker.retiring
        assert not worker.held
        self._check_membership(assignment)
        if account.plan.pinned:
            assert account.state.pinned is not None
            assert account.state.pinned[assignment.chunk.first] == worker.name
        account.take(assignment, self.now)
        worker.calls.append(assignment)
        assert self._cores_in_use() <= CORES, "more is under way than fits into the host"
        assert self.scheduler.windows.load(worker.name) == len(worker.calls)

    def _could_help(self, worker: Worker, call: Assignment) -> bool:
        busy = worker.calls or worker.retiring or worker.held
        relieved = self.scheduler.windows.relieves(worker.name, call.run)
        return not busy and not call.run.paused and (call.run.admits(worker.name) or relieved)

    def _cores_in_use(self) -> float:
        """What the items need that workers may be running: any of their calls may be next."""
        return sum(
            max((self._account(call).plan.cores for call in worker.calls), default=0.0)
            for worker in self.workers.values()
        )

    def _check_membership(self, assignment: Assignment) -> None:
        most = self._account(assignment).plan.most_workers
        busy = {
            call.worker
            for worker in self.workers.values()
            for call in worker.calls
            if call.run is assignment.run
        }
        assert most is None or len(busy | {assignment.worker}) <= most, "too many workers take part"

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
        self.scheduler.answer(call, count, seconds, self.now, final=final)
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

    def _part(self, worker: Worker, *, died: bool, starved: bool = False) -> None:
        del self.workers[worker.name]
        for call in worker.calls:
            rest = range(call.chunk.first + call.done, call.chunk.first + len(call.chunk.items))
            self._account(call).under_way.difference_update(rest)
            self._account(call).given_back.update(rest)
        for call in self.scheduler.lose(worker.name, died=died, starved=starved):
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
        if self.scheduler._solitude.needed:
            return
        for worker in self.workers.values():
            if worker.calls or worker.retiring or worker.held:
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
        return (
            account
            for account in self.accounts
            if not account.cancelled
            and not account.state.paused
            and account.plan.most_workers is None
            and not account.plan.cores
        )

    def _check_that_nothing_is_left(self) -> None:
        assert not self.scheduler.runs
        assert self.scheduler.due(self.now) is None
        for name, worker in self.workers.items():
            assert not worker.calls
            assert self.scheduler.windows.load(name) == 0
            assert self.scheduler.windows.head(name) is None
        assert set(self.scheduler.windows) == set(self.workers)
        assert not self.scheduler.windows._calls
        assert not self.scheduler._delayed
        assert not self.scheduler.attended
        assert not self.host._used.total()
        assert not self.host._line
        for account in self.accounts:
            state = account.state
            assert state.done
            assert not state.running
            assert not [*state._again, *state.starved, *state._later, *state._held]
        self.scheduler._solitude.keep(self.host, self.now, lambda _: True)
        assert not self.scheduler._solitude.needed
