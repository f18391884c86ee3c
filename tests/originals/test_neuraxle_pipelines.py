"""Queued pipelines inside Neuraxle's own pipelines: nested, saved, with hyperparameters and logs."""

import sys
import threading

import numpy as np
import pytest
from neuraxle.base import ExecutionContext, Identity
from neuraxle.data_container import DataContainer
from neuraxle.hyperparams.space import HyperparameterSamples
from neuraxle.metaopt.repositories.repo import VanillaHyperparamsRepository
from neuraxle.pipeline import MiniBatchSequentialPipeline, Pipeline
from neuraxle.steps.misc import FitTransformCallbackStep, TransformOnlyCounterLoggingStep
from neuraxle.steps.numpy import MultiplyByN
from sklearn.preprocessing import StandardScaler

from nbpar.compat.neuraxle import (
    BaseQueuedPipeline,
    ParallelQueuedFeatureUnion,
    ParallelWorkersWrapper,
    QueuedMinibatchTask,
    SequentialQueuedPipeline,
    WorkersJoiner,
)
from nbpar.compat.neuraxle.engines import engines
from nbpar.compat.neuraxle.locks import FileLock

pytestmark = pytest.mark.filterwarnings("ignore")  # what Neuraxle does has been deprecated since

TEN = list(range(10))


@pytest.fixture(params=[False, True], ids=["threads", "processes"])
def processes(request):
    return request.param


@pytest.fixture
def make(processes, opened):
    return lambda kind, *args, **kwargs: opened(
        kind, *args, **{"use_processes": processes, "batch_size": 3, **kwargs}
    )


def test_a_queued_pipeline_is_one_of_neuraxles(make):
    steps = make(SequentialQueuedPipeline, [MultiplyByN(2), ("three", 2, MultiplyByN(3))])

    assert isinstance(steps, BaseQueuedPipeline)
    assert isinstance(steps, (MiniBatchSequentialPipeline, Pipeline))
    assert list(steps.keys()) == ["MultiplyByN", "three", "WorkersJoiner"]
    assert steps["three"].get_step().hyperparams["multiply_by"] == 3
    assert steps.set_name("mine").get_name() == "mine"
    assert [step.n_workers for step in steps.body] == [1, 2]


def test_it_can_be_a_step_of_another_pipeline(make):
    inner = make(SequentialQueuedPipeline, [MultiplyByN(2), MultiplyByN(5)])
    union = make(ParallelQueuedFeatureUnion, [("a", MultiplyByN(1)), ("b", MultiplyByN(2))])

    outer = Pipeline([MultiplyByN(3), inner, union])
    outer, fitted = outer.fit_transform(TEN, TEN)

    assert fitted.tolist() == [30 * n for n in TEN] + [60 * n for n in TEN]
    assert outer.transform([1]).tolist() == [30, 60]


def test_hyperparameters_that_are_set_reach_the_workers(make):
    steps = make(SequentialQueuedPipeline, [("twice", MultiplyByN(2))])
    before = steps.transform([1, 2]).tolist()

    steps.set_hyperparams(HyperparameterSamples({"twice__MultiplyByN__multiply_by": 7}))

    assert (before, steps.transform([1, 2]).tolist()) == ([2, 4], [7, 14])
    assert steps.get_hyperparams().to_flat_dict()["twice__MultiplyByN__multiply_by"] == 7


def test_it_is_saved_with_its_steps_and_loaded_again(make, processes, tmp_path):
    context = ExecutionContext(str(tmp_path))
    steps = make(SequentialQueuedPipeline, [("one", FitTransformCallbackStep())])
    steps, _ = steps.fit_transform(TEN, TEN)

    steps.save(context)
    steps.apply("clear_callbacks")
    cleared = len(steps["one"].get_step().fit_callback_function.data)
    loaded = steps.load(context)

    with loaded:
        assert (cleared, len(loaded["one"].get_step().fit_callback_function.data)) == (0, 4)
        assert loaded.transform(TEN).tolist() == TEN


def test_what_fails_is_in_the_log_of_the_context(make):
    steps = make(SequentialQueuedPipeline, [MultiplyByN(2)], default_value_data_inputs=None)
    context = ExecutionContext()

    with pytest.raises(TypeError, match="unsupported operand"):
        steps.handle_transform(DataContainer(di=TEN), context)

    history = context.logger.get_root_string_history()
    assert "unsupported operand type(s) for *: 'NoneType' and 'int'" in history
    assert "return data_inputs * self.hyperparams['multiply_by']" in history


def test_workers_alone_log_and_join_as_neuraxles_do(processes):
    context = ExecutionContext()
    step = TransformOnlyCounterLoggingStep().set_name(f"Alone{processes}")
    workers = ParallelWorkersWrapper(step, n_workers=2, use_processes=processes)
    joiner = WorkersJoiner(batch_size=5, n_worker_wrappers_to_join=1)
    workers.setup(context)
    joiner.setup(context)
    workers.register_consumer(joiner)
    whole = DataContainer(di=TEN)
    tasks = [QueuedMinibatchTask(DataContainer(di=TEN[first : first + 5]), step.name) for first in (0, 5)]
    joiner.append_terminal_summary(workers.name, tasks[-1])
    workers.start(context, None)

    for task in tasks:
        workers.put_minibatch_produced(task)
    joiner.set_join_quantities(1, 2)
    got = joiner.join_workers(whole, context)
    workers.join()
    workers.teardown()
    joiner.teardown()

    assert got is whole
    assert [list(part.di) for part in got.di] == [TEN]
    assert f"{step.name} - transform call - logging call" in "\n".join(context.logger)


def test_workers_reload_what_was_saved_with_them(tmp_path):
    context = ExecutionContext(str(tmp_path))
    workers = ParallelWorkersWrapper(MultiplyByN(2), use_processes=False, use_savers=True)
    workers.save(context, full_dump=True)
    workers.set_step(MultiplyByN(3))

    assert workers.reload_post_saving(context).get_step().hyperparams["multiply_by"] == 2
    with pytest.raises(AssertionError, match="not using savers"):
        ParallelWorkersWrapper(MultiplyByN(2)).reload_post_saving(context)


def test_objects_of_other_libraries_are_steps_too(make):
    inputs = np.arange(12.0).reshape(6, 2)
    steps = make(SequentialQueuedPipeline, [("scaled", StandardScaler()), MultiplyByN(2)], batch_size=6)

    steps, fitted = steps.fit_transform(inputs)

    assert np.allclose(fitted, StandardScaler().fit_transform(inputs) * 2)
    assert np.allclose(steps.transform(inputs), fitted)


def test_engines_are_forked_with_neuraxle_imported():
    pool = engines.pool(1, [MultiplyByN(2)])

    assert all(pool.each(has_imported, "neuraxle.pipeline"))


def has_imported(name):
    return name in sys.modules


class Counts(Identity):
    """Counts in a repository that all workers share, by reading and writing."""

    def __init__(self, file):
        Identity.__init__(self)
        self.file = file

    def _transform_data_container(self, data_container, context):
        repository = context.get_service("HyperparamsRepository")
        for _ in data_container.di:
            with repository.lock:
                self.file.write_text(str(int(self.file.read_text()) + 1))
        return data_container


def test_workers_share_the_lock_of_a_repository(make, tmp_path):
    file = tmp_path / "count"
    file.write_text("0")
    repository = VanillaHyperparamsRepository(str(tmp_path)).with_lock()
    context = ExecutionContext().set_service_locator({"HyperparamsRepository": repository})
    steps = make(SequentialQueuedPipeline, [(4, Counts(file))], batch_size=5)

    steps.handle_transform(DataContainer(di=list(range(200))), context)

    assert file.read_text() == "200"


def test_a_lock_of_a_file_can_be_taken_again_by_its_holder_only():
    lock, taken = FileLock(), []

    with lock, lock:
        thread = threading.Thread(target=lambda: taken.append(lock.acquire(timeout=0.05)))
        thread.start()
        thread.join(20)

    assert taken == [False]
    assert lock.acquire(block=False)
    lock.release()
