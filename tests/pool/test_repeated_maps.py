"""What a map has learned about its function is used by the next one."""

from __future__ import annotations

import pytest

import nbpar
from nbpar.pool import launch

pytestmark = pytest.mark.engines


@pytest.fixture(scope="module")
def pool():
    with nbpar.Pool(2, progress="none") as pool:
        pool.each(int)
        yield pool


def calls_of(run):
    """Return how many calls a run took."""
    return sum(lane.chunks for lane in run.snapshot.lanes)


def test_a_small_map_of_a_quick_function_takes_one_call_on_each_worker(pool):
    calls = []
    for _ in range(100):  # an item may have been held up by the machine, and seemed slow
        run = pool.map_async(abs, range(-4, 0))
        assert run.get() == [4, 3, 2, 1]
        calls.append(calls_of(run))
        if calls[-1] == 2:
            break

    assert calls[0] > 2
    assert calls[-1] == 2


def test_only_the_latest_functions_are_remembered(pool, monkeypatch):
    monkeypatch.setattr(launch, "REMEMBERED", 2)
    functions = [abs, float, str, repr]

    for function in functions * 2:
        assert pool.map(function, range(3)) == [function(n) for n in range(3)]

    assert len(pool.launcher._costs) == 2
