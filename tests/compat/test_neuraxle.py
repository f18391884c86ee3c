"""Queued pipelines and unions: Neuraxle's interfaces and results, without its hangs."""

import copy
import importlib
import itertools
import logging
import os
import pickle
import sys
import threading
import time

import numpy as np
import pytest

import nbpar
from nbpar.compat.neuraxle import (
    BaseQueuedPipeline,
    DataContainer,
    MinibatchError,
    ParallelQueuedFeatureUnion,
    ParallelWorkersWrapper,
    QueuedMinibatchTask,
    SequentialQueuedPipeline,
    StripAbsentValues,
    WorkersJoiner,
    pickle_exception_into_task,
    worker_function,
)
from nbpar.compat.neuraxle.bases import bases
from nbpar.compat.neuraxle.engines import engines
from nbpar.testing import until


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


class Talks:
    """Prints and logs what it gets."""

    def transform(self, numbers):
        print("called with", numbers)
        logging.getLogger("talks").info("log of %s", numbers)
        return numbers


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


@pytest.mark.engines
def test_a_pipeline_can_be_used_again_and_with_processes(sequential):
    steps = sequential([Times(), ("more", 2, Times(5))], batch_size=4, n_workers_per_step=1)

    for _ in range(2):
        assert list(steps.transform(list(range(21)))) == [10 * n for n in range(21)]


def test_iterators_and_endless_streams_are_fine(opened):
    steps = opened(SequentialQueuedPipeline, [Times()], batch_size=4, max_queued_minibatches=2)

    assert list(steps.transform(iter(range(6)))) == [0, 2, 4, 6, 8, 10]
    assert list(itertools.islice(steps.stream(itertools.count()), 6)) == [0, 2, 4, 6, 8, 10]


@pytest.mark.engines
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


@pytest.mark.engines
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


@pytest.mark.engines
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


@pytest.mark.engines
def test_a_dead_worker_ends_the_call(opened):
    class Dies:
        def transform(self, inputs):
            os._exit(1)

    steps = opened(SequentialQueuedPipeline, [Dies()], batch_size=3, use_processes=True)

    with pytest.raises(nbpar.WorkerDied):
        steps.transform(range(4))


@pytest.mark.engines
def test_fitting_happens_here_in_order_and_is_used_by_the_workers(sequential):
    mean = Mean()
    steps = sequential([Times(), mean], batch_size=2)

    fitted, _ = steps.fit_transform([1, 2, 3, 4])

    assert fitted is steps
    assert mean.seen == [2, 4, 6, 8]
    assert mean.threads == {threading.get_ident()}
    assert list(steps.transform([5])) == [5]
    assert steps.fit([1]) is steps


@pytest.mark.engines
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
    with pytest.raises(EOFError, match="has no queue"):
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


@pytest.mark.engines
@pytest.mark.parametrize("processes", [False, True])
def test_what_steps_print_and_log_is_shown_where_a_joiner_waits(capsys, caplog, processes):
    workers = ParallelWorkersWrapper(Talks(), n_workers=2, use_processes=processes)
    joiner = WorkersJoiner(batch_size=2)
    workers.register_consumer(joiner)
    with caplog.at_level(logging.INFO, "talks"):
        workers.start()
        for n in range(3):
            workers.put_minibatch_produced(DataContainer([n]))

        joiner.join_workers(DataContainer([]))

    assert capsys.readouterr().out == "[0] called with [0]\n[1] called with [1]\n[2] called with [2]\n"
    assert caplog.messages == ["log of [0]", "log of [1]", "log of [2]"]


@pytest.mark.engines
@pytest.mark.parametrize("processes", [False, True])
def test_what_steps_have_printed_is_shown_when_the_workers_are_stopped(capsys, processes):
    workers = ParallelWorkersWrapper(Talks(), use_processes=processes)
    joiner = WorkersJoiner(batch_size=1)
    workers.register_consumer(joiner)
    workers.start()
    workers.put_minibatch_produced(DataContainer([1]))
    task = joiner.input_queue.get(timeout=60)

    workers.join()
    workers.join()

    assert list(task.minibatch_dact.di) == [1]
    assert capsys.readouterr().out == "[0] called with [1]\n"


def test_nothing_is_left_running(opened):
    before = threading.active_count()
    steps = opened(SequentialQueuedPipeline, [Fails(), Times()], batch_size=2, n_workers_per_step=3)
    with pytest.raises(TwoArguments):
        steps.transform(range(10))
    steps.close()

    deadline = time.monotonic() + 60
    while threading.active_count() > before and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    assert threading.active_count() <= before


def test_preparing_a_pipeline_as_neuraxle_wants_it_changes_nothing(opened):
    steps = opened(SequentialQueuedPipeline, [Times()], batch_size=2, use_savers=True)

    assert steps.setup() is steps
    assert list(steps.transform([1, 2, 3])) == [2, 4, 6]
    assert list(steps.with_context(bases.ExecutionContext()).transform([1, 2, 3])) == [2, 4, 6]


def test_steps_are_found_by_name_and_place(opened):
    steps = opened(SequentialQueuedPipeline, [Times(), ("five", 2, Times(5)), Times(3)], batch_size=2)

    assert [name for name, _ in steps] == ["Times", "five", "Times1", "WorkersJoiner"]
    assert steps["five"].get_step().by == steps[1].get_step().by == 5
    assert (steps["five"].n_workers, steps["five"].get_name(), len(steps)) == (2, "five", 4)
    assert steps.body == list(steps.values())[:-1]
    assert isinstance(steps.joiner, WorkersJoiner)
    assert list(steps.named_body.keys()) == ["Times", "five", "Times1"]
    assert ("five" in steps, "six" in steps) == (True, False)
    assert steps.set_name("mine").get_name() == "mine"


@pytest.mark.parametrize(("kind", "number"), [(SequentialQueuedPipeline, 1), (ParallelQueuedFeatureUnion, 2)])
def test_how_many_steps_there_are_at_the_end(opened, kind, number):
    steps = opened(kind, [Times(), Times()], batch_size=2)

    assert isinstance(steps, BaseQueuedPipeline)
    assert steps.get_n_workers_to_join() == number


def test_containers_can_be_fitted(sequential):
    mean = Mean()
    steps = sequential([mean], batch_size=2)

    fitted, container = steps.handle_fit_transform(DataContainer([1, 3], ["a", "b"], [5, 6]))

    assert fitted is steps
    assert (list(container.di), list(container.ids), list(container.eo)) == ([-1, 1], ["a", "b"], [5, 6])
    assert steps.handle_fit(DataContainer([1])) is steps


def test_none_fills_the_last_batch_when_it_is_given(opened):
    kept = opened(SequentialQueuedPipeline, [Fails()], batch_size=2, default_value_data_inputs=None)

    assert list(kept.transform([1, 2, 3])) == [1, 2, 3, None]


class Careless:
    """Returns something else than a container."""

    name = "careless"

    def handle_transform(self, container, context):
        return context

    def transform(self, inputs):
        return inputs


@pytest.mark.engines
def test_handlers_that_return_no_container_are_named(sequential):
    steps = sequential([Careless()], batch_size=2)

    with pytest.raises(ValueError, match="Minibatch DACT is not of good type"):
        steps.transform([1])


def test_a_joiner_in_the_place_of_the_last_step_is_what_joins(opened):
    class Mine(WorkersJoiner):
        def join_workers(self, original_dact, sync_context):
            self.names_then = self.names
            return super().join_workers(original_dact, sync_context)

    steps = opened(SequentialQueuedPipeline, [Times()], batch_size=2)
    mine = Mine(batch_size=2)
    steps.steps_as_tuple[-1] = ("WorkersJoiner", mine)
    steps._refresh_steps()

    assert list(steps.transform([1, 2, 3])) == [2, 4, 6]
    assert mine.names_then == ["Times", "Times"]


def test_copies_and_pickles_of_a_pipeline_have_no_workers_and_get_their_own(opened):
    steps = opened(SequentialQueuedPipeline, [Times()], batch_size=2)
    steps.transform([1])

    for twin in (pickle.loads(pickle.dumps(steps)), copy.deepcopy(steps)):
        with twin:
            assert list(twin.transform([1, 2])) == [2, 4]
    assert list(steps.transform([5])) == [10]


def test_workers_that_are_set_up_join_as_many_batches_as_was_said():
    workers = ParallelWorkersWrapper(Times(), n_workers=2, use_processes=False)
    joiner = WorkersJoiner(batch_size=2, n_worker_wrappers_to_join=1)
    whole = DataContainer(list(range(6)))
    workers._setup()
    joiner._setup()
    workers.register_consumer(joiner)
    workers.start()
    for first in (0, 2, 4):
        batch = DataContainer([first, first + 1], ids=[first, first + 1])
        task = QueuedMinibatchTask(batch, workers.name)
        joiner.append_terminal_summary(workers.name, task)
        workers.put_minibatch_produced(task)

    joiner.set_join_quantities(1, 3)
    got = joiner.join_workers(whole, None)
    workers.join()
    workers.teardown()
    joiner.teardown()

    assert got is whole
    assert [list(part.di) for part in got.di] == [[0, 2, 4, 6, 8, 10]]


def test_workers_without_a_queue_cannot_start():
    with pytest.raises(ValueError, match=r"call self\._setup before"):
        ParallelWorkersWrapper(Times(), use_processes=False).start()
    with pytest.raises(ValueError, match=r"do the self\._setup before"):
        WorkersJoiner(batch_size=2).join_workers(DataContainer([]), None)


def test_a_thread_of_the_users_can_be_a_worker():
    workers = ParallelWorkersWrapper(Fails(), use_processes=False)
    joiner = WorkersJoiner(batch_size=2)
    workers.register_consumer(joiner)
    thread = threading.Thread(target=worker_function, args=(workers, None, False, None))
    thread.start()
    for n in (1, 7, 2):
        workers.put_minibatch_produced(QueuedMinibatchTask(DataContainer([n])))
    workers.put_minibatch_produced(pickle_exception_into_task(None, ValueError("the end")))
    thread.join(20)

    tasks = [joiner.input_queue.get(timeout=60) for _ in range(4)]

    assert not thread.is_alive()
    assert [task.is_error() for task in tasks] == [False, True, False, True]
    assert {task.worker_name for task in tasks} == {"Fails"}
    assert isinstance(tasks[1].err, TwoArguments)
    assert "in transform" in tasks[1].traceback_msg


def test_an_error_that_comes_from_the_producer_goes_on_to_the_consumers():
    workers = ParallelWorkersWrapper(Times(), use_processes=False)
    joiner = WorkersJoiner(batch_size=2)
    workers.register_consumer(joiner)
    workers.start()

    workers.put_minibatch_produced(QueuedMinibatchTask(DataContainer([1])))
    workers.put_minibatch_produced(pickle_exception_into_task(None, ValueError("no more")))

    with pytest.raises(ValueError, match="no more"):
        joiner.join_workers(DataContainer([]))


def test_a_task_that_failed_knows_what_went_wrong():
    task = QueuedMinibatchTask(DataContainer([1, 2]), "step")
    try:
        {}["this"]
    except KeyError as error:
        failed = task.to_error(error)
        assert pickle.loads(pickle.dumps(failed)).traceback_msg == failed.traceback_msg

    assert (task.is_error(), failed.is_error(), failed.step_name) == (False, True, "step")
    assert isinstance(failed, QueuedMinibatchTask)
    assert isinstance(failed.get_err(), KeyError)
    assert "Process:Thread" in str(failed.get_err())
    assert MinibatchError(None, "step", TwoArguments(1, 2), "text").get_err().args == (1, 2)


def test_workers_that_nobody_holds_end(opened):
    before = threading.active_count()
    workers = ParallelWorkersWrapper(Times(), use_processes=False)
    workers._setup()
    workers.start()
    assert threading.active_count() > before

    del workers

    until(lambda: threading.active_count() <= before)


@pytest.mark.engines
def test_pipelines_share_engines_that_have_imported_what_they_need(opened):
    small = opened(SequentialQueuedPipeline, [WhoAmI()], batch_size=1, use_processes=True)
    first = {int(pid) for pid in small.transform(range(4))}

    large = opened(SequentialQueuedPipeline, [(3, WhoAmI())], batch_size=1, use_processes=True)
    later = {int(pid) for pid in large.transform(range(60))}

    assert os.getpid() not in first | later
    assert engines.pool(1, []) is engines.pool(3, [])
    assert all(engines.pool(1, []).each(has_imported, "nbpar.compat.neuraxle"))
    assert len(engines.pool(1, []).workers) >= 3


class WhoAmI:
    def transform(self, inputs):
        return [os.getpid() for _ in inputs]


def has_imported(name):
    return name in sys.modules


@pytest.mark.parametrize("text", ["def (", "raise OSError('broken')", "Other = 1"])
def test_a_neuraxle_that_cannot_be_used_counts_as_none(tmp_path, monkeypatch, text):
    (tmp_path / "broken_neuraxle.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "broken_neuraxle", raising=False)
    found = importlib.import_module("nbpar.compat.neuraxle.bases")
    monkeypatch.setattr(found, "PLACES", {"broken_neuraxle": ("Wanted",)})

    assert found._theirs() is None
