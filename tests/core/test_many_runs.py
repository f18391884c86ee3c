"""The cost of a scheduler's step does not grow with the number of unrelated runs and workers."""

from __future__ import annotations

import pytest
from counting import counted_calls

from nbpar.core.chunking import Chunker
from nbpar.core.scheduling.runstate import RunState
from nbpar.core.scheduling.scheduler import Scheduler
from nbpar.core.source import SequenceSource

FEW = 200
"""Comparisons, or calls of functions, that one step may take."""


class Used(float):
    """Seconds that a run has used; how often they were compared is counted."""

    compared = 0

    def __lt__(self, other):
        Used.compared += 1
        return float(self) < float(other)

    def __gt__(self, other):
        Used.compared += 1
        return float(self) > float(other)

    def __eq__(self, other):
        Used.compared += 1
        return float(self) == float(other)

    def __add__(self, other):
        return Used(float(self) + other)

    def __sub__(self, other):
        return Used(float(self) - other)

    __hash__ = float.__hash__


def run(number, items=2, seconds=0.01):
    state = RunState(number, SequenceSource(range(items)), Chunker(1))
    state.chunker.learn(1, seconds)
    return state


def finish(scheduler, call, now):
    scheduler.answer(call, 1, 0.01, now, final=True)
    scheduler.settle(call, call.chunk.first, [None], {}, now)


def test_the_neediest_of_many_runs_is_found_with_few_comparisons():
    scheduler = Scheduler()
    scheduler._served = Used(0.0)
    for number in range(2000):
        scheduler.add(run(number))
    scheduler.join("0")
    [first] = scheduler.assign(0.0)
    finish(scheduler, first, 0.01)

    Used.compared = 0
    calls = []
    for step in range(50):
        calls += (now_assigned := list(scheduler.assign(1.0 + step)))
        for call in now_assigned:
            finish(scheduler, call, 1.5 + step)

    assert len(calls) >= 50
    assert Used.compared / len(calls) < FEW


@pytest.mark.parametrize("idle", [True, False], ids=["idle", "busy"])
def test_workers_that_take_nothing_are_not_looked_at(idle):
    scheduler = Scheduler()
    scheduler.add(run(1, 1 if idle else 10**6, seconds=1.0))
    for number in range(1000):
        scheduler.join(str(number))
    [call, *_] = scheduler.assign(0.0)
    list(scheduler.assign(0.001))

    def step():
        finish(scheduler, call, 0.01)
        list(scheduler.assign(0.011))
        scheduler.windows.recall(0.011)
        scheduler.due(0.011)

    assert counted_calls(step) < FEW


def test_runs_that_wait_for_a_retry_or_are_paused_cost_nothing():
    scheduler = Scheduler()
    for number in range(1000):
        scheduler.add(run(number))
        scheduler.runs[number].paused = True
    scheduler.add(run(1000, 100))
    scheduler.join("0")
    [call] = scheduler.assign(0.0)

    def step():
        finish(scheduler, call, 0.01)
        list(scheduler.assign(0.02))
        scheduler.due(0.02)

    assert counted_calls(step) < FEW
    scheduler.runs[5].paused = False
    [following] = scheduler.windows.calls_of(scheduler.runs[1000])
    finish(scheduler, following, 0.03)
    assert {call.run.id for call in scheduler.assign(1.0)} == {5}
