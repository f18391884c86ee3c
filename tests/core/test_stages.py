"""The limiting stage of a pipeline, from its numbers alone."""

from dataclasses import replace

import pytest

from nbpar.core.progress import Progress
from nbpar.core.snapshot import StageFigures
from nbpar.core.stages import StageFailure, bottleneck


def figures(name, workers, seconds, *, shared=False, done=100, elapsed=10.0):
    counted = replace(Progress().snapshot(0.0), done=done, busy=seconds * done, elapsed=elapsed, state="done")
    return StageFigures(name, 0, "engines", workers, shared, 0, None, counted)


def test_before_any_outcome_nothing_is_known_to_limit():
    assert bottleneck([figures("a", 1, 0.0, done=0)]) is None


def test_the_stage_with_the_longest_time_per_item_and_worker_limits():
    found = bottleneck([figures("a", 1, 0.1), figures("b", 4, 0.2), figures("c", 1, 0.01)])

    assert found.stage.name == "a"
    assert found.seconds == pytest.approx(0.1)
    assert found.load == pytest.approx(1.0)


def test_one_more_worker_gains_until_the_next_stage_limits():
    found = bottleneck([figures("a", 1, 0.1), figures("b", 1, 0.08)])

    assert found.gain == pytest.approx(0.1 / 0.08)


def test_stages_that_share_workers_limit_together():
    found = bottleneck([figures("a", 2, 0.05, shared=True), figures("b", 2, 0.15, shared=True)])

    assert found.stage.name == "b"
    assert found.seconds == pytest.approx(0.1)
    assert found.gain == pytest.approx(1.5)
    assert found.load == pytest.approx(1.0)


def test_the_load_is_the_share_of_time_in_the_function():
    assert figures("a", 2, 0.1).load == pytest.approx(0.5)


def test_a_failure_says_in_words_where_it_happened():
    failure = StageFailure(9, 9, ValueError(), stage="tag", place=1)

    assert failure.where == "in stage 2, 'tag'"
    assert replace(failure, batch=2, batch_size=4).where == "in stage 2, 'tag', batch 2 (items 8 to 11)"
