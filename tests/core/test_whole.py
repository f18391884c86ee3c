"""The snapshot of a pipeline is combined from those of its stages."""

from types import SimpleNamespace

import pytest

from nbpar.core import events
from nbpar.core.progress import Progress
from nbpar.core.snapshot import StageFigures
from nbpar.core.stages import whole


class Stage:
    """A stage whose events the test makes."""

    def __init__(self, name, place, *, backend="engines"):
        self.name, self.place, self.backend = name, place, backend
        self.progress = Progress()
        self.progress(events.RunStarted(100.0, name, 10))

    def join(self, *workers):
        for worker in workers:
            self.progress(events.WorkerJoined(100.0, worker, "this", 1))

    def work(self, worker, at, seconds, first=0, count=1, failed=0):
        self.progress(events.ChunkSent(at - seconds, worker, first, first, count, 1))
        each, chunk = (
            (seconds / count,) * count,
            SimpleNamespace(first=first, items=range(first, first + count)),
        )
        self.progress(events.ItemsDone(
            at, worker, first, first, count, failed, 0, seconds, each, 100, 5, final=True, chunk_size=count,
            chunk=chunk,
        ))  # fmt: skip

    def figures(self, now=102.0):
        return StageFigures(
            self.name, self.place, self.backend, 2, True, 0, None, self.progress.snapshot(now)
        )


@pytest.fixture
def stages():
    return [Stage("cut", 0), Stage("count", 1)]


def at_its_end(stages, failed=0, pools=()):
    figures = [stage.figures() for stage in stages]
    return whole(stages[-1].progress.snapshot(102.0), "cut | count", figures, pools, failed)


def test_its_workers_are_those_of_all_pools(stages):
    pools = [Stage("here", 0), Stage("there", 0)]
    pools[0].join("0", "1")
    pools[1].join("0")
    pools[1].work("0", 101.0, 1.0)

    seen = at_its_end(stages, pools=[pool.progress.snapshot(102.0) for pool in pools])

    assert (seen.workers, [lane.busy for lane in seen.lanes]) == (3, [0.0, 0.0, 1.0])


def test_what_was_counted_in_the_stages_is_added_up(stages):
    for stage in stages:
        stage.join("engine 0")
    stages[0].work("engine 0", 100.5, 0.5, count=5)
    stages[1].work("engine 0", 101.5, 1.0, count=3)

    seen = at_its_end(stages)

    assert (seen.busy, seen.moved, seen.done) == (1.5, 200, 3)


def test_what_has_failed_on_the_way_counts_before_its_turn_comes(stages):
    stages[0].join("engine 0")
    stages[0].work("engine 0", 101.0, 1.0, count=4, failed=2)
    stages[1].join("engine 0")
    stages[1].work("engine 0", 102.0, 1.0)

    seen = at_its_end(stages, failed=2)

    assert (seen.done, seen.failed) == (3, 2)


def test_imports_of_all_pools_are_added_up_by_package(stages):
    pools = [Stage("here", 0), Stage("there", 0)]
    for pool, packages in zip(pools, ((("numpy", 1.0), ("json", 0.1)), (("numpy", 2.0),)), strict=True):
        pool.join("0")
        pool.progress(events.PackagesImported(101.0, "0", packages))

    seen = at_its_end(stages, pools=[pool.progress.snapshot(102.0) for pool in pools])

    assert [tuple(row) for row in seen.imports] == [("numpy", 3.0, 2), ("json", 0.1, 1)]


@pytest.mark.parametrize(
    ("event", "state"),
    [
        (events.RunPaused(101.0, True), "paused"),
        (events.RunFinished(101.0, "failed"), "failed"),
        (events.RunFinished(101.0, "done"), "done"),
    ],
)
def test_its_end_says_whether_it_is_paused_or_over(stages, event, state):
    stages[-1].progress(event)

    assert at_its_end(stages).state == state


def test_a_stage_shows_the_figures_of_its_snapshot(stages):
    first, second = stages
    first.join("0", "1")
    first.work("0", 101.0, 1.0, count=4, failed=1)
    first.progress(events.ChunkSent(101.5, "1", 9, 4, 1, 1))

    figures, idle = first.figures(), second.figures()

    assert (figures.done, figures.failed, figures.retried, figures.working) == (4, 1, 0, 1)
    assert (figures.busy, figures.elapsed, figures.rate, figures.state) == (1.0, 2.0, 2.0, "running")
    assert (figures.seconds_per_item, figures.load) == (0.25, 0.25)
    assert (idle.seconds_per_item, idle.load, idle.state) == (0.0, 0.0, "waiting")
    assert StageFigures("none", 0, "serial", 0, False, 0, None, Progress().snapshot(0.0)).load == 0.0


def test_it_waits_for_workers_as_long_as_every_stage_does(stages):
    assert at_its_end(stages).state == "waiting"

    stages[0].join("engine 0")

    assert at_its_end(stages).state == "running"
    assert at_its_end(stages).label == "cut | count"


def test_the_slowest_items_are_those_of_any_stage(stages):
    for stage in stages:
        stage.join("engine 0")
    stages[0].work("engine 0", 100.5, 0.5, first=3)
    stages[1].work("engine 0", 101.5, 1.0, first=2)

    seen = at_its_end(stages)

    assert seen.slowest == ((1.0, 2), (0.5, 3))
    assert [list(item) for item in seen.slow_items] == [[2], [3]]
