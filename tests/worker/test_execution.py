"""One call: each outcome separately."""

from __future__ import annotations

import os
import random
import signal
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbpar.errors import ItemTimeoutError
from nbpar.wire.faults import describe, restore
from nbpar.wire.messages import Call
from nbpar.worker.execution import Execution
from nbpar.worker.signals import Interrupts

interrupts = Interrupts()


def call(**fields):
    values = {
        "id": 1, "run": 2, "digest": b"d", "first": 0, "spread": "one", "timed": True, "stop_early": False,
        "timeout": None, "seed": None, "concurrency": 0, "broken": {}, "items": None,
    }  # fmt: skip
    known = {name: values.get(name) for name in Call._fields}
    return Call(**{**known, **fields})


def run(function, items, broken=None, interrupts=interrupts, **fields):
    """Run a call to its end; return its values and exceptions by offset."""
    values, errors = [], {}
    execution = Execution(
        function,
        items,
        call(**fields),
        broken or {},
        interrupts=interrupts,
        describe=lambda e: describe(e, here=True),
    )
    while not execution.finished:
        execution.advance()
        first, some, faults, *_ = execution.take()
        start = first - fields.get("first", 0)
        assert start == len(values)
        errors.update({start + place: restore(fault) for place, fault in faults.items()})
        values += some
    return values, errors


def picky(item):
    if item % 7 == 3:
        raise ValueError(item)
    return item * 2


@settings(deadline=None)
@given(st.integers(0, 1500), st.booleans(), st.sampled_from([None, 60.0]), st.sampled_from([None, 5]))
def test_every_item_has_its_own_outcome(count, timed, timeout, seed):
    values, errors = run(picky, list(range(count)), timed=timed, timeout=timeout, seed=seed)

    assert values == [None if i % 7 == 3 else i * 2 for i in range(count)]
    assert {i: str(error) for i, error in errors.items()} == {i: str(i) for i in range(3, count, 7)}


@pytest.mark.parametrize("timed", [True, False])
def test_the_first_failure_ends_a_call_that_stops_early(timed):
    values, errors = run(picky, list(range(10)), timed=timed, stop_early=True)

    assert values == [0, 2, 4, None]
    assert list(errors) == [3]


@pytest.mark.parametrize("timed", [True, False])
def test_a_function_that_raises_stop_iteration_fails_its_item_alone(timed):
    def function(item):
        if item == 2:
            raise StopIteration
        return item

    values, errors = run(function, list(range(600)), timed=timed)

    assert values == [0, 1, None, *range(3, 600)]
    assert isinstance(errors[2], StopIteration)


def test_items_that_did_not_arrive_fail_without_being_run():
    fault = describe(KeyError("lost"), here=True)

    values, errors = run(lambda item: item + 1, [1, None, 3], {1: fault})

    assert values == [2, None, 4]
    assert isinstance(errors[1], KeyError)


def test_a_long_call_hands_out_what_it_has():
    gate = threading.Event()
    execution = Execution(
        lambda item: gate.wait(0.15) or item,
        list(range(3)),
        call(),
        {},
        interrupts=interrupts,
        describe=describe,
    )

    execution.advance()

    assert not execution.finished
    assert execution.take()[1] == [0]


def test_a_seed_gives_each_item_its_stream_and_leaves_none_behind():
    random.seed(1)
    before = random.getstate()

    first, _ = run(lambda _: random.random(), [0, 0, 0], seed=4)
    tail, _ = run(lambda _: random.random(), [0], seed=4, first=2)

    assert first[2:] == tail
    assert len(set(first)) == 3
    assert random.getstate() == before


def alarm():
    """The handler of SIGALRM and the timer; the test runner may have set its own limit."""
    return signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)


def assert_alarm_is(before):
    handler, (left, every) = alarm()
    assert (handler, every) == (before[0], before[1][1])
    assert bool(left) == bool(before[1][0])
    assert left <= before[1][0]


def test_an_item_over_its_time_is_stopped_alone():
    before = alarm()

    with interrupts:
        values, errors = run(lambda item: time.sleep(60) if item == 1 else item, [0, 1, 2], timeout=0.1)

    assert values == [0, None, 2]
    assert isinstance(errors[1], ItemTimeoutError)
    assert_alarm_is(before)


def test_an_item_that_takes_the_timer_for_itself_is_too_late_all_the_same():
    def takes(item):
        if item == 1:
            signal.setitimer(signal.ITIMER_REAL, 0)
            time.sleep(1.5)
        return item

    with interrupts:
        values, errors = run(takes, [0, 1, 2], timeout=1.0)

    assert values == [0, None, 2]
    assert isinstance(errors[1], ItemTimeoutError)


def catches_exceptions():
    while True:
        try:
            time.sleep(60)
        except Exception:
            pass


def catches_everything_once():
    try:
        time.sleep(60)
    except BaseException:
        time.sleep(60)


def turns_it_into_another():
    try:
        time.sleep(60)
    except BaseException as error:
        raise KeyError("wrapped") from error


def returns_all_the_same():
    try:
        time.sleep(60)
    except BaseException:
        return "late"


def times_out_in_a_callback():
    class Part:
        def __del__(self):
            time.sleep(60)  # what is raised here is only reported

    part = Part()
    del part
    time.sleep(60)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    "item",
    [
        catches_exceptions,
        catches_everything_once,
        turns_it_into_another,
        returns_all_the_same,
        times_out_in_a_callback,
    ],
)
def test_an_item_over_its_time_is_stopped_whatever_it_catches(item):
    before = alarm()

    with interrupts:
        values, errors = run(lambda one: one(), [int, item, int], timeout=0.1)

    assert values == [0, None, 0]
    assert isinstance(errors[1], ItemTimeoutError)
    assert str(errors[1]) == "it took longer than timeout=0.1 s"
    assert_alarm_is(before)


def test_a_limit_within_a_limit_leaves_the_outer_one_running():
    def outer(_):
        run(lambda item: item, [1], timeout=60.0, interrupts=Interrupts())
        time.sleep(60)

    with interrupts:
        _, errors = run(outer, [0], timeout=0.2)

    assert isinstance(errors[0], ItemTimeoutError)


@pytest.mark.parametrize("timed", [True, False])
def test_an_interrupt_stops_the_item_and_leaves_the_rest(timed):
    def function(item):
        if item == 2:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(60)
        return item

    with interrupts:
        execution = Execution(
            function, list(range(5)), call(timed=timed), {}, interrupts=interrupts, describe=describe
        )
        execution.advance()

    assert execution.finished
    assert execution.interrupted
    assert execution.take()[1] == [0, 1]


def test_an_interrupt_between_items_strikes_nobody():
    with interrupts:
        os.kill(os.getpid(), signal.SIGINT)
        values, _ = run(lambda item: item, [1, 2])

    assert values == [1, 2]


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("timed", [True, False])
def test_a_function_that_forks_goes_on_in_the_parent_alone(timed, tmp_path):
    def function(item):
        if item == 1 and os.fork() == 0:
            return "child"
        with (tmp_path / "ran").open("a") as ran:
            ran.write(f"{item} ")
        return item

    values, _ = run(function, list(range(4)), timed=timed)

    assert values == [0, 1, 2, 3]
    assert os.wait()[1] == 0
    assert (tmp_path / "ran").read_text() == "0 1 2 3 "
