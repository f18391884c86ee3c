"""The cost of a dispatcher's step does not grow with the number of idle jobs and workers."""

from __future__ import annotations

import pytest
from counting import counted_calls

from nbpar.core.rates.retry import Retry

MORE = 1.5
"""Limit of a step's cost with a thousand of something, as a multiple of that with ten."""


def double(n):
    return 2 * n


def steps_of(bench, number, **job):
    """Return the cost of a few steps while that many jobs wait."""
    for _ in range(number):
        bench.begin(double, range(5), **job)
    bench.step(4)
    for worker in bench.backend.workers:
        bench.backend.answer(worker)
    bench.step(2)

    def steps():
        for worker in bench.backend.workers:
            bench.backend.answer(worker)
        bench.step(2)

    return counted_calls(steps)


@pytest.mark.parametrize(
    "job",
    [{}, {"timeout": 5.0}, {"retry": Retry(3)}, {"fail_fast": False}],
    ids=["plain", "with a time limit", "with retries", "that collect failures"],
)
def test_jobs_that_wait_cost_nothing(make_bench, job):
    few, many = steps_of(make_bench(2), 10, **job), steps_of(make_bench(2), 1000, **job)

    assert many < MORE * few


def test_jobs_whose_input_has_nothing_cost_nothing(make_bench):
    class Silent:
        ended, ready, remaining = False, False, None

        def take(self, limit, *, eager):
            return ()

        def want(self, total):
            pass

    def steps(silent):
        bench = make_bench(2)
        for _ in range(silent):
            bench.begin(double, Silent())
        return steps_of(bench, 10)

    few, many = steps(1), steps(1000)

    assert many < MORE * few


def test_workers_that_compute_cost_nothing(make_bench):
    def steps(workers):
        bench = make_bench(workers)
        bench.begin(double, range(10**6))
        bench.step(4)
        first = bench.backend.workers[0]

        def step():
            bench.backend.answer(first, seconds=1.0)
            bench.step(2)

        step()
        return counted_calls(step)

    few, many = steps(4), steps(1000)

    assert many < MORE * few
