"""The description of a pipeline's limit, from numbers alone."""

from dataclasses import replace

import pytest

from nbpar.core.analysis import Figures, limit_of
from nbpar.core.progress import Progress
from nbpar.core.snapshot import StageFigures

NOTHING = Progress().snapshot(0.0)


def stage(name, seconds, *, workers=1, backend="engines", shared=False):
    counted = replace(NOTHING, done=100, busy=100 * seconds, elapsed=10.0)
    return StageFigures(name, 0, backend, workers, shared, 0, None, counted)


def said(*stages, **figures):
    given = {"elapsed": 10.0, "workers": 2, "computing": 10.0, **figures}
    return str(limit_of(replace(NOTHING, stages=stages), Figures(**given)))


def test_a_stage_with_workers_of_its_own():
    assert said(stage("cut", 0.01), stage("tag", 0.18, workers=2)) == (
        "`tag` limits with 180 ms an item on 2 workers, busy for 90 % of the time: "
        "one more worker there would make the pipeline about 1.5 times as fast"
    )


def test_stages_that_share_workers():
    assert said(stage("cut", 0.04, workers=2, shared=True), stage("tag", 0.14, workers=2, shared=True)) == (
        "`tag` limits with 140 ms an item of 180 ms for all stages on their 2 workers, "
        "busy for 90 % of the time: one more worker there would make the pipeline about 1.5 times as fast"
    )


def test_a_worker_that_no_cpu_is_free_for_is_not_promised():
    words = said(stage("tag", 0.09), cpu=9.0, cpus=2)

    assert words.endswith("if there were a CPU for it; all 2 are at work, so make `tag` itself faster")
    assert said(stage("tag", 0.09), cpu=1.0, cpus=2).endswith("about 2.0 times as fast")


def test_threads_that_may_share_a_lock_are_told_of_it():
    assert said(stage("tag", 0.09, backend="threads")).endswith("as far as it releases the GIL")


def test_a_stage_in_this_thread_wants_a_worker():
    assert "give it a worker" in said(stage("tag", 0.09, backend="serial"))


def test_stages_that_are_about_as_slow_limit_together():
    assert said(stage("cut", 0.089), stage("tag", 0.09)).endswith("another stage is about as slow: help both")


@pytest.mark.parametrize(
    ("reading", "says"), [(9.5, "the input limits"), (1.0, "no stage limits, even `tag`")]
)
def test_stages_that_wait_do_not_limit(reading, says):
    assert said(stage("tag", 0.03), reading=reading).startswith(says)


def test_before_any_outcome_nothing_is_said():
    assert limit_of(NOTHING, Figures(0.0)) is None
