"""No window ever has more begins than its rate allows: on a clock of our own."""

from __future__ import annotations

import gc
import heapq
import itertools
import pickle
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbpar.core.chunking import Chunk, Chunker
from nbpar.core.outcome import Failure
from nbpar.core.rates.rate import NEVER, Gate, Rate
from nbpar.core.rates.retry import Retry
from nbpar.core.scheduling.admission import chunk_for
from nbpar.core.scheduling.needs import ANYWHERE
from nbpar.core.scheduling.runstate import RunState
from nbpar.core.scheduling.scheduler import Scheduler
from nbpar.core.source import SequenceSource
from nbpar.testing import FakeClock


def worst_window(begins: list[float], seconds: float) -> int:
    """Return the number of begins in the fullest window of that length."""
    begins = sorted(begins)
    first = worst = 0
    for last, begin in enumerate(begins):
        while begins[first] <= begin - seconds:
            first += 1
        worst = max(worst, last - first + 1)
    return worst


def gate_of(rate: Rate) -> Gate:
    return Gate(rate, lambda: None)


# ---- what a rate may be


@pytest.mark.parametrize(
    ("limit", "number", "seconds"),
    [
        ("500/min", 500, 60),
        ("10/s", 10, 1),
        ("1000/h", 1000, 3600),
        ("1_000/hour", 1000, 3600),
        ("5 per second", 5, 1),
        ("100 in 10 s", 100, 10),
        ("100/10s", 100, 10),
        (" 3 / Min ", 3, 60),
        (10, 10, 1),
        (2.5, 2, 0.8),
        (0.5, 1, 2),
        ("0.5/min", 1, 120),
        ((50, 6), 50, 6),
        ([50, 6.5], 50, 6.5),
    ],
    ids=repr,
)
def test_a_rate_is_a_text_a_number_a_second_or_a_number_in_seconds(limit, number, seconds):
    rate = Rate(limit)

    assert (rate.number, rate.seconds) == (number, pytest.approx(seconds))


@pytest.mark.parametrize("limit", ["500/min", "10/s", "100 in 10 s", "2 in 0.8 s"])
def test_its_text_makes_the_same_rate(limit):
    again = Rate(str(Rate(limit)))

    assert (again.number, again.seconds) == (Rate(limit).number, Rate(limit).seconds)


@pytest.mark.parametrize(
    "limit", ["fast", "", "10", "10/fortnight", "-1/s", "1e3/s", "/s", "10 s", "0/s", "5/0 s"]
)
def test_a_text_that_is_no_rate_is_refused_with_examples(limit):
    with pytest.raises(ValueError, match=r'rate must be "10/s", "500/min", .*, was ') as caught:
        Rate(limit)

    assert repr(limit) in str(caught.value)


@pytest.mark.parametrize("limit", [None, True, [1], (1, 2, 3), ("10", 1), {}, object()])
def test_something_else_than_a_rate_is_refused(limit):
    with pytest.raises(TypeError, match=r'rate must be "10/s", .*, was '):
        Rate(limit)


@pytest.mark.parametrize(
    "limit", [0, -3, float("inf"), float("nan"), (0, 1), (1, 0), (1, float("inf")), 1e-300]
)
def test_a_number_out_of_range_is_refused(limit):
    with pytest.raises(ValueError, match="rate must be "):
        Rate(limit)


@pytest.mark.parametrize(
    ("burst", "error"), [(0, ValueError), (11, ValueError), (2.5, TypeError), ("3", TypeError)]
)
def test_a_burst_out_of_range_is_refused(burst, error):
    with pytest.raises(error, match="burst must be "):
        Rate("10/s", burst=burst)


def test_no_rate_is_no_limit_and_a_rate_stays_the_same():
    rate = Rate(3)

    assert Rate.of(None) is None
    assert Rate.of(rate) is rate
    assert str(Rate.of("3/s")) == "3/s"
    assert repr(Rate("500/min", burst=5)) == 'Rate("500/min", burst=5)'


def test_a_rate_does_not_travel_to_another_process():
    with pytest.raises(TypeError, match='Rate\\("3/s"\\) counts in one process; pass it as `rate=`'):
        pickle.dumps(Rate(3))


# ---- permits


def test_a_permit_is_held_until_a_window_after_its_begin():
    gate = gate_of(Rate((2, 10)))

    assert gate.take(5, 0.0) == 2
    assert gate.take(1, 100.0) == 0
    assert gate.opens == NEVER

    gate.begun([101.0, 103.0])

    assert gate.take(1, 110.5) == 0
    assert gate.opens == 111.0
    assert gate.take(2, 111.0) == 1
    assert gate.opens == 0.0 or gate.opens < 111.0


def test_a_gate_that_knows_of_no_time_is_stirred_when_there_is_one():
    stirred = []
    rate = Rate((1, 10))
    other, gate = gate_of(rate), Gate(rate, lambda: stirred.append(True))
    other.take(1, 0.0)

    assert not gate.available(1.0)
    other.begun([2.0])

    assert stirred == [True]
    assert not gate.available(3.0)
    assert gate.opens == 12.0


def test_a_begin_that_is_told_late_may_let_another_gate_ask_earlier():
    stirred = []
    rate = Rate((2, 10))
    first, second, gate = gate_of(rate), gate_of(rate), Gate(rate, lambda: stirred.append(True))
    first.take(1, 0.0)
    second.take(1, 0.0)
    second.begun([5.0])

    assert not gate.available(6.0)
    assert gate.opens == 15.0
    first.begun([1.0])

    assert stirred == [True]
    assert not gate.available(6.0)
    assert gate.opens == 11.0


def test_a_permit_that_was_not_used_is_free_at_once():
    stirred = []
    rate = Rate((2, 10))
    gate, other = gate_of(rate), Gate(rate, lambda: stirred.append(True))
    gate.take(2, 0.0)

    assert not other.available(1.0)
    gate.unbegun(1)

    assert stirred == [True]
    assert other.take(5, 1.0) == 1


def test_a_permit_that_is_lost_counts_for_another_window():
    stirred = []
    rate = Rate((2, 10))
    gate, other = gate_of(rate), Gate(rate, lambda: stirred.append(True))
    gate.take(2, 0.0)
    assert not other.available(1.0)

    gate.lost(2)

    assert stirred == [True]
    assert not other.available(5.0)
    assert other.opens == 15.0


def test_the_permits_of_a_gate_that_is_gone_count_for_another_window():
    rate = Rate((2, 10))
    gate = gate_of(rate)
    gate.take(2, 0.0)
    del gate
    gc.collect()
    other = gate_of(rate)

    assert not other.available(5.0)
    assert other.take(2, 15.0) == 2


def test_a_server_may_shut_a_rate_for_all_its_runs():
    rate = Rate((5, 10))
    gate, other = gate_of(rate), gate_of(rate)

    gate.shut(30.0)

    assert not other.available(1.0)
    assert other.opens == 30.0
    assert other.take(9, 30.0) == 5


def test_a_burst_is_followed_by_even_spacing():
    gate, taken = gate_of(Rate((10, 10), burst=3)), []
    for now in range(100, 112):
        number = gate.take(9, float(now))
        gate.begun([float(now)] * number)
        taken.append(number)

    assert taken == [3, 1, 1, 1, 1, 1, 1, 1, 0, 0, 3, 1]


def test_a_gate_of_a_bucket_knows_when_it_has_something():
    gate = gate_of(Rate((10, 10), burst=1))
    assert gate.take(1, 100.0) == 1
    gate.begun([100.0])

    assert not gate.available(100.25)
    assert gate.opens == pytest.approx(101.0)


def test_a_permit_that_was_not_used_goes_back_into_the_bucket():
    gate = gate_of(Rate((10, 10), burst=1))
    gate.take(1, 100.0)

    gate.unbegun(1)

    assert gate.take(1, 100.0) == 1


def test_many_permits_come_back_in_lots():
    rate = Rate(100_000)
    gate = gate_of(rate)
    for n in range(10):
        gate.take(10_000, 5.0 + n / 10_000)
        gate.begun([5.0 + n / 10_000 + k * 1e-9 for k in range(10_000)])

    assert len(rate.permits._log._ends) < 5
    assert gate.take(1, 5.99) == 0
    assert gate.take(100_000, 6.01) == 100_000


# ---- no window has too many, whatever happens


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 12), st.sampled_from([None, 1, 3]), st.floats(0.0, 3.0))
def test_no_window_has_too_many_with_any_latency_and_any_loss(seed, number, burst, latency):
    """Sending, beginning and hearing of it are apart; workers die, and calls are given back."""
    dice = random.Random(seed)
    rate = Rate((number, 1.0), burst=burst if burst is None or burst <= number else None)
    gates = [gate_of(rate) for _ in range(3)]
    clock, begins, events, order = 0.0, [], [], itertools.count()
    for _ in range(300):
        clock += dice.random() * 0.3
        while events and events[0][0] <= clock:
            heapq.heappop(events)[2]()
        gate = dice.choice(gates)
        for _ in range(gate.take(dice.randint(1, number + 2), clock)):
            fate = dice.random()
            begin = clock + dice.random() * latency
            told = begin + dice.random() * latency
            if fate < 0.8:
                begins.append(begin)
                heapq.heappush(events, (told, next(order), lambda g=gate, at=told: g.begun([at])))
            elif fate < 0.9:  # its worker dies, perhaps just after it began
                begins.append(begin)
                heapq.heappush(events, (told, next(order), lambda g=gate: g.lost(1)))
            else:
                heapq.heappush(events, (told, next(order), lambda g=gate: g.unbegun(1)))

    assert worst_window(begins, 1.0) <= number
    assert begins


class Farm:
    """A scheduler with several runs at rates, and workers with latencies that come and go."""

    def __init__(self, dice: random.Random, latency: float) -> None:
        self.dice, self.latency = dice, latency
        self.clock = FakeClock()
        self.scheduler = Scheduler()
        self.calls = {}
        """Calls under way of each worker."""

        self.free_at = {}
        self.begins = []
        self.attempts = {}
        self.failing = {}
        self._events, self._order, self._names = [], itertools.count(), itertools.count()
        for _ in range(3):
            self.join()

    def join(self):
        name = f"w{next(self._names)}"
        self.calls[name], self.free_at[name] = {}, 0.0
        self.scheduler.join(name)

    def add(self, number, items, rate, *, chunksize=None, retries=0):
        state = RunState(
            number, SequenceSource(range(items)), Chunker(chunksize), dice=self.dice.random,
            retry=Retry(retries, first=0.05),
        )  # fmt: skip
        state.gate = Gate(rate, lambda: self.scheduler.touch(state))
        self.scheduler.add(state)
        return state

    def at(self, time, act):
        heapq.heappush(self._events, (time, next(self._order), act))

    def delay(self):
        return self.dice.random() * self.latency

    def run(self, most=20_000):
        """Let everything happen until all runs are over."""
        for _ in range(most):
            for call in self.scheduler.assign(self.clock.now):
                self.begin(call)
            for call in self.scheduler.windows.recall(self.clock.now):
                self.recall(call)
            if not self.scheduler.runs:
                return
            times = [self._events[0][0]] if self._events else []
            if (due := self.scheduler.due(self.clock.now)) is not None:
                times.append(due)
            assert times, "nothing will ever happen"
            self.clock.now = max(min(times), self.clock.now)
            while self._events and self._events[0][0] <= self.clock.now:
                heapq.heappop(self._events)[2]()
        raise AssertionError("the runs do not end")

    def begin(self, call):
        """Let a worker begin the items of a call, one after another."""
        worker = call.worker
        at = max(self.clock.now + self.delay(), self.free_at[worker])
        plan = self.calls[worker][call.id] = []
        for _ in call.chunk.items:
            seconds = self.dice.choice([0.001, 0.01, 0.01, 0.5])
            plan.append((at, at + seconds))
            at += seconds
        self.free_at[worker] = at
        self.at(at + self.delay(), lambda: self.answer(worker, call))

    def answer(self, worker, call):
        if self.scheduler.windows.call(call.id) is not call:
            return
        plan = self.calls[worker].pop(call.id)
        self.begins += [begin for begin, _ in plan]
        failures = {}
        for index in call.chunk.indices:
            attempt = self.attempts[call.run.id, index] = self.attempts.get((call.run.id, index), 0) + 1
            if attempt <= self.failing.get(index, 0):
                failures[index] = Failure(index, index, ValueError(), attempts=call.chunk.attempt)
        each = tuple(end - begin for begin, end in plan)
        values = [0] * len(plan)
        self.scheduler.answer(call, len(values), sum(each), self.clock.now, final=True, each=each)
        self.scheduler.settle(call, call.chunk.first, values, failures, self.clock.now)
        if call.run.done:
            self.scheduler.remove(call.run)

    def recall(self, call):
        """Let a worker give back what it has not begun."""
        now, worker = self.clock.now, call.worker
        plan = self.calls[worker][call.id]
        begun = sum(begin <= now for begin, _ in plan)
        if call.cut and begun:
            del plan[begun:]
            self.scheduler.shorten(call.id, begun)
        elif not call.cut and not begun:
            del self.calls[worker][call.id]
            self.scheduler.answer(call, 0, 0.0, now, final=True)
            self.scheduler.settle(call, call.chunk.first, [], {}, now)

    def die(self):
        """Let a worker die, with what it has begun by now."""
        worker = self.dice.choice(list(self.calls))
        for plan in self.calls.pop(worker).values():
            self.begins += [begin for begin, _ in plan if begin <= self.clock.now]
        died = self.scheduler.lose(worker)
        for call in died:
            failure = Failure(call.chunk.first, 0, RuntimeError())
            first, now = call.chunk.first, self.clock.now
            self.scheduler.settle(call, first, [0], {first: failure}, now, hopeless=True)
            if call.run.done:
                self.scheduler.remove(call.run)
        self.join()


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 10**6), st.integers(1, 40), st.sampled_from([None, 1, 4]), st.sampled_from([0, 0.01, 0.4]),
    st.sampled_from([None, 1, 7]), st.integers(0, 3),
)  # fmt: skip
def test_no_window_has_too_many_in_runs_that_share_a_rate(seed, number, burst, latency, chunksize, deaths):
    farm = Farm(random.Random(seed), latency)
    rate = Rate((number, 1.0), burst=None if burst is None else min(burst, number))
    farm.failing = {1: 1, 3: 2, 5: 9}
    for run in range(2):
        farm.add(run, 15, rate, chunksize=chunksize, retries=2)
    for _ in range(deaths):
        farm.at(farm.dice.random() * 3, farm.die)

    farm.run()

    assert worst_window(farm.begins, 1.0) <= number
    assert len(farm.begins) >= 30
    assert rate.permits._log.held == sum(rate.permits.lost)


def test_a_rate_is_used_up_when_there_is_enough_to_do():
    farm = Farm(random.Random(1), 0.0)
    farm.add(0, 100, Rate((10, 1.0)))

    farm.run()

    assert worst_window(farm.begins, 1.0) == 10
    assert farm.clock.now < 1.2 * 9


def test_a_rate_that_is_never_reached_holds_nothing_up():
    farm, free = Farm(random.Random(1), 0.01), Farm(random.Random(1), 0.01)
    farm.add(0, 200, Rate(10**6))
    free.add(0, 200, Rate(10**9))

    farm.run()
    free.run()

    assert farm.clock.now == pytest.approx(free.clock.now)


# ---- in a scheduler


def test_what_is_told_of_begins_is_counted_and_calls_that_are_given_up_keep_their_permits():
    gate = gate_of(Rate((2, 10)))
    scheduler = Scheduler()
    scheduler.join("w")
    scheduler.add(RunState(1, SequenceSource(range(2)), Chunker(2), gate=gate))
    [call] = scheduler.assign(0.0)

    scheduler.begun(call.id, 1, 5.0, 100.0)
    scheduler.begun(7, 1, 5.0, 100.0)
    assert (gate.available(104.9), gate.available(105.1)) == (0, 1)

    scheduler.lose_permits()
    assert (gate.available(110.0), gate.available(120.0)) == (1, 2)


def test_a_chunk_that_waits_for_an_idle_worker_takes_no_permit():
    gate = gate_of(Rate((2, 10)))
    state = RunState(1, SequenceSource([]), Chunker(), gate=gate)
    state.give_back(Chunk(0, [1], deaths=1))

    assert chunk_for(state, "w", ANYWHERE, 1, 0.0, idle=False) is None
    assert gate.available(0.0) == 2
    assert chunk_for(state, "w", ANYWHERE, 1, 0.0, idle=True) == Chunk(0, [1], deaths=1)


def test_no_token_comes_twice_when_loops_bring_times_out_of_order():
    rate = Rate((100, 1), burst=1)
    gates = gate_of(rate), gate_of(rate)

    taken = sum(gate.take(1, at) for _ in range(20) for gate, at in zip(gates, (1.005, 1.0), strict=True))

    assert taken == 1
