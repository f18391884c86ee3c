"""Workers that fall silent: others begin their items as well, the first outcome counts, nothing is lost."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nbpar.core.chunking import Chunk, Chunker
from nbpar.core.outcome import Failure
from nbpar.core.rates.retry import Retry
from nbpar.core.scheduling.runstate import RunState
from nbpar.core.scheduling.scheduler import Scheduler
from nbpar.core.scheduling.speculation import Speculation
from nbpar.core.source import SequenceSource


class World:
    """A scheduler, and workers that answer, fall silent, return and die when they are told to."""

    def __init__(self, items, workers=2, chunksize=1, retries=0, failing=(), **options):
        self.now = 0.0
        self.scheduler = Scheduler()
        self.calls = {}
        self.outcomes = Counter()
        self.values = {}
        self.failing = Counter(failing)
        source, retry = SequenceSource(range(items)), Retry(times=retries, first=0.01)
        self.run = RunState(1, source, Chunker(chunksize), retry=retry, **options)
        for number in range(workers):
            self.join(f"w{number}")
        self.scheduler.add(self.run)
        self.assign()

    def join(self, worker):
        self.calls[worker] = []
        self.scheduler.join(worker)

    def assign(self):
        """Do what a driver does at every turn."""
        again = True
        while again:
            for call in self.scheduler.assign(self.now):
                self.calls[call.worker].append(call)
            again = self.scheduler.silence.speculate()
        if self.run.done and self.run.id in self.scheduler.runs:
            self.scheduler.remove(self.run)

    def items(self, worker):
        return [list(call.unanswered) for call in self.calls[worker] if not call.superseded]

    def silence(self, worker):
        self.scheduler.silence.begin(worker)
        self.assign()

    def hear(self, worker):
        over = self.scheduler.silence.end(worker)
        self.scheduler.reopen(worker)
        self.assign()
        return over

    def answer(self, worker, count=None, *, final=True):
        """Let a worker answer its oldest call: the next items of it, all by default."""
        call = self.calls[worker][0]
        count = len(call.unanswered) if count is None else count
        first = call.next
        if final:
            del self.calls[worker][0]
        if call.superseded:
            if final:
                self.scheduler.drop(call.id)
            self.assign()
            return
        self.scheduler.answer(call, count, 0.01 * count, self.now, final=final)
        fresh = self.run.speculation.fresh(range(first, first + count))
        for part in fresh or [range(first, first)]:
            self._settle(call, part)
        if self.run.speculation.items:
            self.scheduler.silence.supersede(self.run)
        self.assign()

    def die(self, worker):
        for call in self.scheduler.lose(worker):
            index = call.chunk.first
            failure = Failure(index, index, RuntimeError("it died"))
            self._settle(call, range(index, index + 1), {index: failure}, hopeless=True)
        del self.calls[worker]
        self.assign()

    def leave(self, worker):
        """Let a worker give back what it has."""
        self.scheduler.lose(worker, died=False)
        del self.calls[worker]
        self.assign()

    def _settle(self, call, part, failures=None, *, hopeless=False):
        failures = dict(failures or {})
        for index in part if not hopeless else ():
            if self.failing[index]:
                self.failing[index] -= 1
                failures[index] = Failure(index, index, ValueError(index))
        parts, _ = self.scheduler.settle(
            call, part.start, [10 * index for index in part], failures, self.now, hopeless=hopeless
        )
        for one in parts:
            for place, value in enumerate(one.values):
                self.outcomes[one.first + place] += 1
                self.values[one.first + place] = one.failures.get(one.first + place, value)


def test_an_idle_worker_begins_what_a_silent_one_has_and_its_answer_counts():
    world = World(items=2)
    world.silence("w0")
    assert world.items("w1") == [[1]]

    world.answer("w1")
    copied = world.items("w1")
    world.answer("w1")

    assert copied == [[0]]
    assert world.values == {0: 0, 1: 10}
    assert world.run.done
    assert not world.scheduler.runs


def test_a_silent_worker_gets_no_work_until_it_answers_again():
    world = World(items=5)
    world.silence("w0")
    world.answer("w0")  # what it had said before
    assert world.items("w0") == []

    world.hear("w0")

    assert world.items("w0") == [[2]]


def test_the_answer_of_a_worker_that_was_silent_counts_if_it_is_the_first():
    world = World(items=2)
    world.silence("w0")
    world.answer("w1")

    world.hear("w0")
    world.answer("w0")

    assert world.outcomes == {0: 1, 1: 1}
    assert [call.superseded for call in world.calls["w1"]] == [True]
    assert world.run.done
    world.answer("w1")
    assert world.outcomes == {0: 1, 1: 1}
    assert world.scheduler.windows.free() == ["w0", "w1"]


def test_a_late_answer_is_not_wanted_and_the_worker_takes_part_again():
    world = World(items=2)
    world.silence("w0")
    world.answer("w1")
    world.answer("w1")

    (over,) = world.hear("w0")
    assert over.chunk.first == 0
    world.answer("w0", final=False)
    world.answer("w0")

    assert world.outcomes == {0: 1, 1: 1}
    assert not world.run.speculation.items
    assert world.scheduler.windows.free() == ["w1", "w0"]


def test_a_chunk_is_shared_among_all_idle_workers():
    world = World(items=6, workers=3, chunksize=6)

    world.silence("w0")

    assert [world.items(worker) for worker in ("w1", "w2")] == [[[0, 1, 2]], [[3, 4, 5]]]


def test_items_that_were_answered_before_are_not_begun_again():
    world = World(items=4, chunksize=4)
    world.answer("w0", 2, final=False)

    world.silence("w0")

    assert world.items("w1") == [[2, 3]]


def test_copies_that_wait_are_dropped_when_their_item_has_its_outcome():
    world = World(items=4, workers=3, chunksize=4)
    world.silence("w0")
    world.leave("w1")
    world.leave("w2")
    world.hear("w0")

    world.answer("w0")

    assert world.outcomes == dict.fromkeys(range(4), 1)
    assert world.run.done
    assert not world.run.speculation.items


def test_nothing_is_copied_that_has_killed_a_worker_or_belongs_to_one():
    world = World(items=1, workers=3)
    world.die("w0")
    world.silence("w1")
    assert world.items("w2") == []

    pinned = RunState(2, SequenceSource([]), Chunker(1))
    pinned.pin(["w2"], 0)
    world.scheduler.add(pinned)
    world.assign()
    world.join("w3")
    world.silence("w2")

    assert [call.run.id for call in world.calls["w2"]] == [2]
    assert world.items("w3") == []


@pytest.mark.parametrize("state", ["paused", "cancelled"])
def test_nothing_is_copied_of_a_run_that_begins_nothing(state):
    world = World(items=1)
    setattr(world.run, state, True)

    world.silence("w0")

    assert world.items("w1") == []


def test_nothing_is_copied_for_workers_that_a_limited_run_does_not_admit():
    world = World(items=1, workers=2, most_workers=1)

    world.silence("w0")

    assert world.items("w1") == []


def test_an_item_that_costs_all_workers_that_have_it_fails():
    world = World(items=1, workers=3)
    world.silence("w0")
    world.silence("w1")
    assert world.items("w2") == []  # two are enough

    world.die("w0")
    assert world.items("w2") == []
    world.die("w1")
    assert world.items("w2") == [[0]]  # alone now, so that it is certainly to blame
    world.die("w2")

    assert isinstance(world.values[0].exception, RuntimeError)
    assert world.outcomes == {0: 1}
    assert world.run.done


def test_a_copy_that_kills_its_worker_is_not_made_again():
    world = World(items=1, workers=3)
    world.silence("w0")
    world.die("w1")

    assert world.items("w2") == []
    world.hear("w0")
    world.answer("w0")
    assert world.outcomes == {0: 1}


def test_a_copy_that_is_given_back_is_made_again():
    world = World(items=1, workers=3)
    world.silence("w0")
    world.leave("w1")

    assert world.items("w2") == [[0]]


def test_a_failure_is_tried_again_and_a_late_value_counts():
    world = World(items=1, retries=1, failing=[0])
    world.silence("w0")
    world.answer("w1")  # fails
    assert world.outcomes == {}

    world.hear("w0")
    world.answer("w0")

    assert world.values == {0: 0}
    assert world.scheduler.due(world.now) is None
    assert world.run.done


def test_a_worker_that_is_unknown_may_be_silent():
    world = World(items=1)

    world.scheduler.silence.begin("stranger")

    assert "stranger" not in world.scheduler.silence
    assert world.scheduler.silence.end("stranger") == []


def test_ranges_of_items():
    speculation = Speculation()
    speculation.add([3, 4, 7])
    speculation.settle([3, 7, 9])
    speculation.end([9])

    assert speculation.alone(range(10)) == [range(3), range(5, 7), range(8, 10)]
    assert speculation.unsettled(range(10)) == [range(3), range(4, 7), range(8, 10)]
    assert speculation.take_back(Chunk(3, [0] * 5), died=True) == [Chunk(5, [0, 0])]
    assert speculation.fresh([3, 4]) == [range(4, 5)]


@given(
    seed=st.integers(0, 2**32),
    items=st.integers(0, 25),
    workers=st.integers(1, 5),
    chunksize=st.none() | st.integers(1, 9),
    retries=st.integers(0, 2),
    failing=st.lists(st.integers(0, 25), max_size=4),
    ordered=st.booleans(),
)
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_item_gets_exactly_one_outcome(seed, items, workers, chunksize, retries, failing, ordered):
    dice = random.Random(seed)
    world = World(items, workers, chunksize, retries, failing, ordered=ordered)
    names = iter(range(100, 10**6))
    for _ in range(80):
        _let_something_happen(world, dice, names)

    for worker in world.calls:
        world.hear(worker)
    for _ in range(1000):
        busy = [worker for worker, calls in world.calls.items() if calls]
        if world.run.done and not busy:
            break
        world.now += 0.1
        world.assign()
        if busy:
            world.answer(dice.choice(busy))

    assert world.outcomes == dict.fromkeys(range(items), 1)
    assert not world.run.speculation.items
    assert not world.scheduler.runs
    assert not world.scheduler.windows._calls
    assert len(world.scheduler.windows.free()) == len(world.calls)


def _let_something_happen(world, dice, names):
    world.now += dice.random() * 0.02
    worker = dice.choice(list(world.calls))
    what = dice.choices(["answer", "silence", "hear", "die", "leave"], [5, 2, 2, 0.3, 0.3])[0]
    if what == "answer" and world.calls[worker]:
        left = len(world.calls[worker][0].unanswered)
        count = left if dice.random() < 0.6 else dice.randint(0, left)
        world.answer(worker, count, final=count == left or dice.random() < 0.2)
    elif what in ("silence", "hear"):
        getattr(world, what)(worker)
    elif what in ("die", "leave"):
        getattr(world, what)(worker)
        world.join(f"w{next(names)}")
        world.assign()
