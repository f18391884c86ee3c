"""Which stage limits a pipeline, from its figures alone."""

import pytest

from nbpar.pipeline.figures import StageFigures, bottleneck


def figures(name, workers, seconds, *, shared=False, done=100, elapsed=10.0):
    return StageFigures(
        name, 0, "engines", workers, shared, 0, 0, None, done, 0, 0, 0.0, seconds * done, elapsed, "done"
    )


def test_before_any_outcome_nothing_is_known_to_limit():
    assert bottleneck([figures("a", 1, 0.0, done=0)]) is None


def test_the_stage_with_the_longest_time_per_item_and_worker_limits():
    found = bottleneck([figures("a", 1, 0.1), figures("b", 4, 0.2), figures("c", 1, 0.01)])

    assert found.stage.name == "a"
    assert found.seconds == pytest.approx(0.1)


def test_one_more_worker_gains_until_the_next_stage_limits():
    found = bottleneck([figures("a", 1, 0.1), figures("b", 1, 0.08)])

    assert found.gain == pytest.approx(0.1 / 0.08)


def test_stages_that_share_workers_limit_together():
    found = bottleneck([figures("a", 2, 0.1, shared=True), figures("b", 2, 0.3, shared=True)])

    assert found.stage.name == "b"
    assert found.seconds == pytest.approx(0.2)
    assert found.gain == pytest.approx(1.5)


def test_the_load_is_the_share_of_time_in_the_function():
    assert figures("a", 2, 0.1).load == pytest.approx(0.5)
