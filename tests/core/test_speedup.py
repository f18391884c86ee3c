"""The speed-up of a run."""

from dataclasses import replace

import pytest

from nbpar.core.analysis import speed_up
from nbpar.core.lanes import LaneCount
from nbpar.core.progress import Progress


def run(busy=20.0, elapsed=10.0, workers=2, cpu=18.0, pids=None):
    """A run that is over, on workers of these processes."""
    pids = pids or range(100, 100 + workers)
    lanes = [LaneCount(0.0, 0.0, "this", pid, cpu=cpu / workers).lane(str(pid), elapsed) for pid in pids]
    snapshot = Progress().snapshot(0.0)
    return replace(snapshot, busy=busy, elapsed=elapsed, workers=workers, lanes=tuple(lanes))


def test_it_is_the_time_of_the_items_over_that_of_the_run():
    assert speed_up(run(busy=19.0)) == pytest.approx(1.9)
    assert speed_up(run(busy=5.0)) == pytest.approx(0.5)


def test_items_that_compute_count_on_no_more_cpus_than_there_are():
    crowded = run(busy=80.0, workers=8, cpu=19.0)

    assert speed_up(crowded, cpus=2) == 2.0
    assert speed_up(crowded, cpus=None) == 8.0


def test_items_that_wait_count_on_every_worker():
    assert speed_up(run(busy=80.0, workers=8, cpu=0.4), cpus=2) == 8.0


def test_nothing_is_said_of_threads_that_take_turns():
    threads = run(pids=[7, 7])

    assert speed_up(threads) is None
    assert speed_up(threads, gil=False) == 2.0


@pytest.mark.parametrize("few", [run(workers=1), run(busy=0.02, elapsed=0.01), run(busy=0.0)])
def test_nothing_is_said_where_there_is_nothing_to_compare(few):
    assert speed_up(few) is None
