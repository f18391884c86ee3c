"""Queued pipelines and unions: Neuraxle's forms and results, without its hangs."""

import itertools
import os
import threading
import time

import numpy as np
import pytest

import nbpar
from nbpar.compat.neuraxle import (
    DataContainer,
    MinibatchError,
    ParallelQueuedFeatureUnion,
    ParallelWorkersWrapper,
    QueuedMinibatchTask,
    SequentialQueuedPipeline,
    StripAbsentValues,
    WorkersJoiner,
)


class Times:
    """Multiplies."""

    def __init__(self, by=2):
        self.by = by

    def transform(self, inputs):
        return [value * self.by for value in inputs]


class Fails:
    """Fails for batches with a 7."""

    def transform(self, inputs):
        if 7 in inputs:
            raise TwoArguments(7, "seven")
        return inputs


class TwoArguments(Exception):
    def __init__(self, number, word):
        super().__init__(number, word)


class Mean:
    """Learns the mean of all it was fitted to, and takes it away."""

    def __init__(self):
        self.seen = []
        self.threads = set()

    def fit(self, inputs, outputs=None):
        self.seen += list(inputs)
        self.threads.add(threading.get_ident())
        return self

    def transform(self, inputs):
        return [value - sum(self.seen) / len(self.seen) for value in inputs]


@pytest.fixture(params=[False, True], ids=["threads", "processes"])
def sequential(request, opened):
    return lambda *args, **kwargs: opened(
        SequentialQueuedPipeline, *args, **{"use_processes": request.param, **kwargs}
    )


ARGUMENTS = [("by", 3), ("by", 3)]


@pytest.mark.parametrize(
    ("form", "by"),
    [
        (Times(), 2),
        ((2, Times()), 2),
        (("times", Times()), 2),
        (("times", 2, Times()), 2),
        (("times", 2, 5, Times()), 2),
        (("times", 2, ARGUMENTS, Times()), 3),
        (("times", 2, ARGUMENTS, 5, Times()), 3),
        (("times", 2, [{"by": 4}, {"by": 4}], Times()), 4),
        (("times", 1, [("by", 5, "name", "five")], Times()), 5),
    ],
)
def test_steps_can_be_written_in_seven_forms(opened, form, by):
    steps = opened(SequentialQueuedPipeline, [form, Times(1)], batch_size=3)

    assert list(steps.transform(range(10))) == [by * n for n in range(10)]


@pytest.mark.parametrize(
    "form",
    [
        object(),
        (2, object()),
        (),
        ("a", 1, 2, 3, 4, Times()),
        ("a", "b", Times()),
        (1, 2, Times()),
        ("a", 1, 2, [("by", 1)], Times()),
        ("a", 1, [("by",)], Times()),
    ],
)
def test_other_forms_are_refused(form):
    with pytest.raises(TypeError, match=r"step is written as one of|each worker's arguments"):
        SequentialQueuedPipeline([form], batch_size=3)


def test_each_worker_needs_arguments():
    with pytest.raises(ValueError, match="3 workers, and arguments for 2"):
        SequentialQueuedPipeline([("a", 3, ARGUMENTS, Times())], batch_size=3)


def test_steps_work_at_different_batches_at_the_same_time(opened):
    meeting = threading.Barrier(2)

    class Meets:
        def __init__(self, when):
            self.when = when

        def transform(self, inputs):
            if self.when in inputs:
                meeting.wait(20)
            return inputs

    steps = opened(SequentialQueuedPipeline, [Meets(5), Meets(0)], batch_size=5)

    assert list(steps.transform(range(20))) == list(range(20))


def test_a_pipeline_can_be_used_again_and_with_processes(sequential):
    steps = sequential([Times(), ("more", 2, Times(5))], batch_size=4, n_workers_per_step=1)

    for _ in range(2):
        assert list(steps.transform(list(range(21)))) == [10 * n for n in range(21)]


def test_iterators_and_endless_streams_are_fine(opened):
    steps = opened(SequentialQueuedPipeline, [Times()], batch_size=4, max_queued_minibatches=2)

    assert list(steps.transform(iter(range(6)))) == [0, 2, 4, 6, 8, 10]
    assert list(itertools.islice(steps.stream(itertools.count()), 6)) == [0, 2, 4, 6, 8, 10]


@pytest.mark.parametrize("inputs", [[], [7], np.array([1, 2])])
def test_few_inputs_or_none_are_fine(sequential, inputs):
    got = sequential([Times()], batch_size=10).transform(inputs)

    assert list(got) == [2 * value for value in inputs]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [0, 2, 4, 6, 8]),
        ({"keep_incomplete_batch": False}, [0, 2, 4, 6]),
        ({"default_value_data_inputs": StripAbsentValues()}, [0, 2, 4, 6, 8]),
        ({"default_value_data_inputs": 50}, [0, 2, 4, 6, 8, 100]),
    ],
)
def test_the_last_batch_is_kept_dropped_or_filled(opened, options, expected):
    steps = opened(SequentialQueuedPipeline, [Times()], batch_size=2, **options)

    assert list(steps.transform(range(5))) == expected


def test_ids_and_expected_outputs_are_carried(sequential):
    given = DataContainer([1, 2, 3], ids=["a", "b", "c"], expected_outputs=[4, 5, 6])

    got = sequential([Times()], batch_size=2).handle_transform(given)

    assert (list(got.di), list(got.ids), list(got.eo)) == ([2, 4, 6], ["a", "b", "c"], [4, 5, 6])
    assert given.di == [1, 2, 3]


def test_outputs_of_a_union_come_in_the_order_of_its_steps(opened):
    steps = [("z", Times(2)), ("a", 2, Times(3))]

    union = opened(ParallelQueuedFeatureUnion, steps, batch_size=2)
    assert list(union.transform(range(3))) == [0, 2, 4, 0, 3, 6]
    joined = opened(ParallelQueuedFeatureUnion, steps, batch_size=2, data_joiner=lambda both: both[1])
    assert joined.transform(range(3)) == [0, 3, 6]
    assert list(joined.stream(range(3))) == [0, 3, 6]


def test_a_joiner_that_fails_ends_the_call(opened):
    union = opened(ParallelQueuedFeatureUnion, [Times()], batch_size=2, data_joiner=lambda both: 1 // 0)

    with pytest.raises(ZeroDivisionError):
        union.transform([1])


def test_what_a_step_raises_keeps_its_type_and_names_its_batch(sequential):
    steps = sequential([Times(1), ("fails", 2, Fails())], batch_size=3)

    with pytest.raises(TwoArguments, match="seven") as caught:
        steps.transform(range(20))

    cause = caught.value.__cause__
    assert isinstance(cause, MinibatchError)
    assert (cause.step_name, cause.first, list(cause.items)) == ("fails", 6, [6, 7, 8])
    assert cause.err is caught.value
    assert "in transform" in cause.traceback_msg
    assert list(steps.transform([1, 2])) == [1, 2]


def test_a_dead_worker_ends_the_call(opened):
    class Dies:
        def transform(self, inputs):
            os._exit(1)

    steps = opened(SequentialQueuedPipeline, [Dies()], batch_size=3, use_processes=True)

    with pytest.raises(nbpar.WorkerDied):
        steps.transform(range(4))


def test_fitting_happens_here_in_order_and_is_used_by_the_workers(sequential):
    mean = Mean()
    steps = sequential([Times(), mean], batch_size=2)

    fitted, _ = steps.fit_transform([1, 2, 3, 4])

    assert fitted is steps
    assert mean.seen == [2, 4, 6, 8]
    assert mean.threads == {threading.get_ident()}
    assert list(steps.transform([5])) == [5]
    assert steps.fit([1]) is steps


def test_without_a_step_to_fit_fit_transform_is_transform(sequential):
    assert list(sequential([Times()], batch_size=2).fit_transform([1, 2, 3])[1]) == [2, 4, 6]


def test_workers_and_a_joiner_can_be_used_alone():
    first = ParallelWorkersWrapper(Times(), n_workers=2, use_processes=False)
    second = ParallelWorkersWrapper(Times(10), max_queued_minibatches=1, use_processes=False)
    joiner = WorkersJoiner(batch_size=2)
    first.register_consumer(second)
    second.register_consumer(joiner)
    first.start()
    second.start()
    for n in range(5):
        first.put_minibatch_produced(QueuedMinibatchTask(DataContainer([n, n])))

    got = joiner.join_workers(DataContainer([]))

    assert [container.di for container in got.di] == [[20 * (n // 2) for n in range(10)]]
    with pytest.raises(ValueError, match="not been started"):
        first.put_minibatch_produced(DataContainer([1]))


def test_a_joiner_alone_raises_what_a_step_raises():
    workers = ParallelWorkersWrapper(Fails(), max_queued_minibatches=1, use_processes=False)
    joiner = WorkersJoiner(batch_size=2)
    workers.register_consumer(joiner)
    workers.start()
    for n in range(10):
        workers.put_minibatch_produced(DataContainer([n]))

    with pytest.raises(TwoArguments):
        joiner.join_workers(DataContainer([]))


def test_nothing_is_left_running(opened):
    before = threading.active_count()
    steps = opened(SequentialQueuedPipeline, [Fails(), Times()], batch_size=2, n_workers_per_step=3)
    with pytest.raises(TwoArguments):
        steps.transform(range(10))
    steps.close()

    deadline = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    assert threading.active_count() <= before


def test_preparing_a_pipeline_as_neuraxle_wants_it_changes_nothing(opened):
    steps = opened(SequentialQueuedPipeline, [Times()], batch_size=2, use_savers=True)

    assert steps.setup() is steps.with_context(None) is steps
    assert list(steps.transform([1, 2, 3])) == [2, 4, 6]
