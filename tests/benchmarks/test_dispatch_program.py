"""What an answer costs the client does not grow with the workers, and the program that measures it."""

from __future__ import annotations

import re

import pytest
from counting import counted_calls

from benchmarks import dispatch
from nbpar.core.chunking import MOST_JOINED

MORE = 2.0
"""How many times as much an answer may cost with 1024 workers as with 16."""


MOST = 175
"""How many functions, most of them built in, may be called for an answer that arrives with others."""

FEWER = 0.2
"""How much of that a short item may cost, which shares its answer with others."""


def calls_per_answer(workers, per_step, *, item=dispatch.ITEM):
    """Return how many functions are called for each answered item, of every worker at least one."""
    number = max(200, 2 * workers) * (MOST_JOINED if item < dispatch.ITEM else 1)
    simulation = dispatch.Simulation(workers, 4 * MOST_JOINED * workers + 2 * number, item)
    for _ in range(2):
        simulation.step(workers)
    answered = []

    def act():
        while sum(answered) < number:
            answered.append(simulation.step(per_step or workers))

    return counted_calls(act) / number


@pytest.mark.parametrize("per_step", dispatch.PER_STEP)
def test_an_answer_costs_as_much_with_many_workers_as_with_few(per_step):
    few, many = calls_per_answer(16, per_step), calls_per_answer(1024, per_step)

    assert many < MORE * few


@pytest.mark.parametrize("workers", [256, 1024])
def test_an_answer_among_many_takes_few_calls_of_functions(workers):
    assert calls_per_answer(workers, 0) < MOST


def test_answers_that_come_together_are_cheaper_than_single_ones():
    assert calls_per_answer(256, 0) < calls_per_answer(256, 1)


@pytest.mark.parametrize("workers", [2, 1024])
def test_short_items_are_far_cheaper_than_others(workers):
    assert calls_per_answer(workers, 0, item=dispatch.SHORT_ITEM) < FEWER * calls_per_answer(workers, 0)


def test_every_item_is_answered_once():
    simulation = dispatch.Simulation(4, 100)
    answered = 0
    while len(simulation.driver.jobs):
        answered += simulation.step(4)

    assert answered == 100


def test_the_program_prints_a_row_for_each_number_of_workers(capsys):
    dispatch.main(["--calls", "10"])

    rows = capsys.readouterr().out.splitlines()
    assert [int(row.split()[0]) for row in rows[1:]] == list(dispatch.WORKERS)
    assert all(len(re.findall(r"\d+\.\d µs", row)) == len(dispatch.PER_STEP) + 1 for row in rows[1:])
