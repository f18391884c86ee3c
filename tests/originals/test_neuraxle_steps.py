"""Neuraxle's own steps, containers and savers in nbpar's queued pipelines."""

import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
from neuraxle.base import BaseSaver, BaseStep, ExecutionContext, Identity
from neuraxle.data_container import DataContainer, StripAbsentValues
from neuraxle.hyperparams.space import HyperparameterSamples
from neuraxle.pipeline import Pipeline
from neuraxle.steps.loop import ForEach
from neuraxle.steps.misc import FitTransformCallbackStep, Sleep
from neuraxle.steps.numpy import MultiplyByN, NumpyConcatenateInnerFeatures

from nbpar.compat.neuraxle import ParallelQueuedFeatureUnion, SequentialQueuedPipeline

pytestmark = pytest.mark.filterwarnings("ignore")  # what Neuraxle does has been deprecated since

HUNDRED = list(range(100))


@pytest.fixture(params=[False, True], ids=["threads", "processes"])
def make(request, opened):
    return lambda kind, *args, **kwargs: opened(kind, *args, **{"use_processes": request.param, **kwargs})


def test_steps_of_neuraxle_give_what_they_give_one_after_another(make):
    steps = make(
        SequentialQueuedPipeline, [ForEach(Sleep(0.001)), MultiplyByN(2), Pipeline([MultiplyByN(5)])],
        batch_size=5, n_workers_per_step=2, max_queued_minibatches=10,
    )  # fmt: skip

    assert steps.setup().transform(HUNDRED).tolist() == [10 * n for n in HUNDRED]


def test_containers_of_neuraxle_come_back_with_ids_and_expected_outputs(make):
    steps = make(SequentialQueuedPipeline, [MultiplyByN(2), ("times", 2, MultiplyByN(5))], batch_size=2)

    got = steps.handle_transform(DataContainer(di=[1, 2, 3], eo=[4, 5, 6], ids=["a", "b", "c"]))

    assert isinstance(got, DataContainer)
    assert (list(got.di), list(got.ids), list(got.eo)) == ([10, 20, 30], ["a", "b", "c"], [4, 5, 6])


@pytest.mark.parametrize("queue", [(), (5,)])
def test_each_worker_has_the_arguments_that_were_written_for_it(make, queue):
    own = [("hyperparams", HyperparameterSamples({"multiply_by": 2})) for _ in range(4)]

    union = make(ParallelQueuedFeatureUnion, [("times", 4, own, *queue, MultiplyByN())], batch_size=10)

    assert union.transform(HUNDRED).tolist() == [2 * n for n in HUNDRED]


def test_joiners_and_absent_values_of_neuraxle_mean_what_they_say(make):
    steps = make(
        SequentialQueuedPipeline, [MultiplyByN(2)], batch_size=2, data_joiner=NumpyConcatenateInnerFeatures(),
        default_value_data_inputs=StripAbsentValues(),
    )  # fmt: skip

    assert np.ravel(steps.transform([1, 2, 3])).tolist() == [2, 4, 6]


def test_steps_are_fitted_batch_by_batch_in_this_process(make):
    first = FitTransformCallbackStep(transform_function=lambda values: np.array(values) * 2)
    steps = make(SequentialQueuedPipeline, [first, (1, FitTransformCallbackStep())], batch_size=10)

    fitted, outputs = steps.fit_transform(HUNDRED, HUNDRED)

    assert fitted is steps
    assert outputs.tolist() == [2 * n for n in HUNDRED]
    assert len(first.fit_callback_function.data) == 10


def test_steps_run_in_the_context_that_was_given(make):
    services = {Word: Word("from here")}
    steps = make(SequentialQueuedPipeline, [AsksForWord()], batch_size=1)

    by_with = steps.with_context(ExecutionContext().set_service_locator(services)).transform([0])
    by_call = steps.handle_transform(
        DataContainer(di=[0]), ExecutionContext().set_service_locator({Word: Word("from there")})
    )

    assert (list(by_with), list(by_call.di)) == (["from here"], ["from there"])


def test_savers_carry_steps_that_cannot_be_pickled(make):
    steps = make(SequentialQueuedPipeline, [Adds(1), ("ten", 2, Adds(10))], batch_size=2, use_savers=True)

    assert list(steps.transform([1, 2, 3])) == [12, 13, 14]
    steps[0].get_step().number = 2
    assert list(steps.transform([1, 2, 3])) == [13, 14, 15]


def test_savers_and_arguments_of_workers_go_together(make):
    own = [("more", 100), ("more", 100)]
    steps = make(SequentialQueuedPipeline, [("one", 2, own, Adds(1))], batch_size=2, use_savers=True)

    assert list(steps.transform([1, 2, 3])) == [102, 103, 104]


def test_what_savers_have_written_is_removed(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    steps = SequentialQueuedPipeline([Adds(1)], batch_size=2, use_savers=True)
    steps.transform([1])
    steps.transform([1])

    assert len(list(tmp_path.glob("nbpar-step-*"))) == 1
    steps.close()
    steps.close()
    assert not list(tmp_path.glob("nbpar-step-*"))


class Word:
    """A service."""

    def __init__(self, word):
        self.word = word


class AsksForWord(Identity):
    """Puts the word of its context in the place of each input."""

    def _transform_data_container(self, data_container, context):
        word = context.get_service(Word).word
        return data_container.set_data_inputs([word for _ in data_container.di])


class Adds(BaseStep):
    """Adds a number, which it keeps where pickle does not find its way."""

    def __init__(self, number):
        super().__init__(savers=[NumberSaver()])
        self.number = number
        self.more = 0
        self.lock = threading.Lock()

    def transform(self, data_inputs):
        with self.lock:
            return [value + self.number + self.more for value in data_inputs]


class NumberSaver(BaseSaver):
    """Writes the number of a step, and makes its lock anew."""

    def save_step(self, step, context):
        Path(context.get_path(), "number").write_text(str(step.number))
        step.number = step.lock = None
        return step

    def can_load(self, step, context):
        return Path(context.get_path(), "number").exists()

    def load_step(self, step, context):
        step.number = int(Path(context.get_path(), "number").read_text())
        step.lock = threading.Lock()
        return step
