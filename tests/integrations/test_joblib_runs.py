"""A call of joblib's Parallel is one run: seen, stopped, named and reported like any other."""

from __future__ import annotations

import functools
import itertools
import os
import threading
import traceback
from pathlib import Path

import joblib
import numpy as np
import pytest
from joblib import Parallel, delayed
from joblib.parallel import get_active_backend

import nbpar
from nbpar.integrations.joblib_sealing import Sealer
from nbpar.integrations.joblib_tasks import MOST_FUNCTIONS
from nbpar.run import history
from nbpar.testing import Gate

pytestmark = [pytest.mark.engines, pytest.mark.usefixtures("known")]

OLD = tuple(map(int, joblib.__version__.split(".")[:2])) < (1, 5)
"""It does not tell the number of tasks, and takes no options for backends."""


@pytest.fixture
def labels():
    """Return the labels of the runs since the beginning of the test."""
    history.begun.clear()
    return lambda: [info.label for info in nbpar.runs()]


@pytest.fixture
def on_pool(pool):
    with joblib.parallel_config(backend="nbpar", pool=pool):
        yield pool


def square(n, *, plus=0):
    return n * n + plus


def fail_at_three(n):
    if n == 3:
        raise ValueError("no 3")
    return n


class Wrapper:
    """A function made anew for each task, as scikit-learn's."""

    calls = 0

    def __init__(self, function):
        functools.update_wrapper(self, function)

    def __call__(self, *args):
        self.calls += 1
        return self.calls, self.__wrapped__(*args)


def test_all_tasks_are_one_run(on_pool, labels):
    Parallel()(delayed(square)(n, plus=1) for n in range(300))

    assert labels() == ["square"]
    run = nbpar.last_run
    assert (run.state, run.snapshot.done) == ("done", 300)
    assert run.results() == [n * n + 1 for n in range(300)]
    assert "square" in str(run.report)


def test_the_number_of_tasks_of_a_list_is_known(on_pool):
    Parallel()([delayed(square)(n) for n in range(30)])

    assert nbpar.last_run.snapshot.total in (30, None if OLD else 30)


def test_a_generators_results_are_not_kept(on_pool):
    results = list(Parallel(return_as="generator")(delayed(square)(n) for n in range(30)))

    assert results == [n * n for n in range(30)]
    assert (nbpar.last_run.snapshot.done, list(nbpar.last_run.results())) == (30, [])


def test_runs_may_have_a_label_of_their_own(pool):
    with joblib.parallel_config(backend="nbpar", pool=pool, label="squares"):
        Parallel()(delayed(square)(n) for n in range(3))

    assert nbpar.last_run.label == "squares"


def test_a_wrong_view_is_refused(pool):
    with pytest.raises(ValueError, match="progress must be"):
        joblib.parallel_config(backend="nbpar", pool=pool, progress="loud")


def test_what_fails_is_named_by_its_call_and_shows_the_workers_lines(on_pool):
    with pytest.raises(ValueError, match="no 3") as caught:
        Parallel()(delayed(fail_at_three)(n) for n in range(10))

    text = "".join(traceback.format_exception(caught.value))
    assert "in fail_at_three" in text
    assert "joblib_tasks.py" not in text
    assert "task 3: the call fail_at_three(3) failed" in text
    failure = nbpar.last_run.failures[0]
    assert (failure.index, failure.item, failure.function.__name__) == (3, ((3,), {}), "fail_at_three")
    with pytest.raises(ValueError, match="no 3"):
        failure.replay()


def test_one_function_after_the_other_in_one_call(on_pool):
    calls = [delayed(function)(n) for n, function in zip(range(40), itertools.cycle([abs, square, float]))]

    assert Parallel()(calls) == [(n, n * n, float(n))[n % 3] for n in range(40)]


def test_more_functions_than_are_sent_ahead(on_pool):
    def made(n):
        return lambda: n

    number = 2 * MOST_FUNCTIONS
    assert Parallel()(delayed(made(n))() for n in range(number)) == list(range(number))


def test_wrappers_made_for_each_task_are_objects_of_their_own(on_pool):
    results = Parallel()(delayed(Wrapper(square))(n) for n in range(50))

    assert results == [(1, n * n) for n in range(50)]
    assert nbpar.last_run.label == "square"


def test_what_cannot_be_sent_is_named(on_pool):
    if on_pool.backend != "engines":
        pytest.skip("threads use the same objects")
    lock = threading.Lock()

    with pytest.raises(nbpar.PicklingError, match="lock"):
        Parallel()(delayed(square)(lock) for _ in range(3))
    with pytest.raises(nbpar.PicklingError, match="lock"):
        Parallel()(delayed(lambda: lock)() for _ in range(3))
    assert Parallel()(delayed(square)(n) for n in range(3)) == [0, 1, 4]


def test_input_that_fails_raises_as_itself(on_pool):
    def tasks():
        yield from (delayed(square)(n) for n in range(100))
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        Parallel()(tasks())
    assert Parallel()(delayed(square)(n) for n in range(3)) == [0, 1, 4]


def test_no_tasks_are_no_run(on_pool, labels):
    assert Parallel()([]) == []
    assert labels() == []


def test_stop_leaves_the_workers_usable(on_pool, tmp_path):
    if on_pool.backend != "engines":
        pytest.skip("a thread cannot be stopped")
    gate = Gate(str(tmp_path))
    threading.Thread(target=lambda: (gate.until_waiting(), nbpar.last_run.request_stop())).start()

    with pytest.raises(KeyboardInterrupt):
        Parallel()(delayed(gate.wait)(60) for _ in range(5))

    assert nbpar.last_run.state == "stopped"
    assert Parallel()(delayed(square)(n) for n in range(3)) == [0, 1, 4]


def test_a_pool_that_is_closed_ends_the_call(tmp_path):
    gate = Gate(str(tmp_path))
    pool = nbpar.Pool(2, backend="threads", progress="none")

    def close():
        gate.until_waiting()
        threading.Timer(0, gate.open).start()
        pool.close()

    threading.Thread(target=close).start()
    with joblib.parallel_config(backend="nbpar", pool=pool), pytest.raises(nbpar.PoolClosedError):
        Parallel()(delayed(gate.wait)(60) for _ in itertools.count())


def test_a_task_that_kills_its_worker_is_named(on_pool):
    if on_pool.backend != "engines":
        pytest.skip("threads do not die")

    def die(n):
        if n == 2:
            os._exit(3)
        return n

    with pytest.raises(nbpar.WorkerDied) as caught:
        Parallel()(delayed(die)(n) for n in range(5))
    assert "task 2" in "".join(traceback.format_exception(caught.value))
    assert Parallel()(delayed(square)(n) for n in range(3)) == [0, 1, 4]


def test_calls_under_way_at_once_in_one_block(on_pool):
    first = Parallel(return_as="generator")(delayed(square)(n) for n in range(20))
    taken = [next(first)]
    second = Parallel(return_as="generator_unordered")(delayed(abs)(-n) for n in range(20))

    assert sorted(second) == list(range(20))
    assert [*taken, *first] == [n * n for n in range(20)]


def test_a_managed_parallel_makes_a_run_of_each_call(on_pool, labels):
    with Parallel() as parallel:
        assert parallel(delayed(square)(n) for n in range(5)) == [0, 1, 4, 9, 16]
        with pytest.raises(ValueError, match="no 3"):
            parallel(delayed(fail_at_three)(n) for n in range(5))
        assert parallel(delayed(abs)(-n) for n in range(5)) == list(range(5))

    assert labels() == ["square", "fail_at_three", "abs"]


def test_calls_within_tasks_use_joblibs_nested_backend_and_have_no_run(on_pool, labels):
    def inner(n):
        found = type(get_active_backend()[0]).__name__
        return found, Parallel(n_jobs=2)(delayed(abs)(-k) for k in range(n))

    results = Parallel()(delayed(inner)(n) for n in range(4))

    assert {backend for backend, _ in results} == {"ThreadingBackend"}
    assert [values for _, values in results] == [list(range(n)) for n in range(4)]
    assert labels() == ["inner"]
    assert "ThreadingBackend" not in on_pool.map(lambda _: type(get_active_backend()[0]).__name__, range(4))


def test_output_of_tasks_is_shown_by_task(on_pool, capfd):
    Parallel()(delayed(print)("said by", n) for n in range(3))

    shown = capfd.readouterr().out
    assert [line for line in shown.splitlines() if "said by" in line] == [
        f"[{n}] said by {n}" for n in range(3)
    ]


def test_output_of_a_generators_tasks_is_shown(on_pool, capfd):
    list(Parallel(return_as="generator")(delayed(print)("said by", n) for n in range(3)))

    shown = capfd.readouterr().out
    said = [line for line in shown.splitlines() if "said by" in line]
    assert sorted(said) == [f"[{n}] said by {n}" for n in range(3)]


def test_verbose_calls_tell_of_progress_as_joblib_does(on_pool, capsys):
    Parallel(verbose=5)(delayed(square)(n) for n in range(5))

    assert "Using backend NbparBackend with 2 concurrent workers" in capsys.readouterr().err


# ---- arrays


def look_at(table):
    lines = Path("/proc/self/maps").read_text().splitlines() if Path("/proc").exists() else []
    files = {line.split()[-2] for line in lines if "memfd:nbpar-" in line}
    return float(np.asarray(table).sum()), len(files), np.asarray(table).flags.writeable


def test_a_large_array_within_a_table_is_in_memory_once():
    import pandas as pd

    table = pd.DataFrame(np.ones((300_000, 1)))
    with nbpar.Pool(2, progress="none") as pool, joblib.parallel_config(backend="nbpar", pool=pool):
        looks = Parallel(batch_size=1)(delayed(look_at)(table) for _ in range(12))

    assert {total for total, _, _ in looks} == {300_000.0}
    assert not any(writable for _, _, writable in looks)
    if hasattr(os, "memfd_create"):
        assert {files for _, files, _ in looks[2:]} == {1}


def test_views_of_memory_that_is_refilled_are_sent_as_they_were_handed_in():
    memory = np.zeros(1 << 18)
    with nbpar.Pool(1, backend="serial") as pool:
        sealer = Sealer(pool.share, 1 << 20, writable=False, same_host=True)
        sealed = []
        for n in range(6):
            memory[:] = n
            sealed += sealer.items([((memory[:],),)])

    assert [item.open()[0][0][0] for item in sealed] == list(range(6))


@pytest.mark.parametrize("options", [{"max_nbytes": None}, {"mmap_mode": "c"}, {"mmap_mode": None}], ids=str)
def test_arrays_can_be_copies_to_write_to(on_pool, options):
    if on_pool.backend != "engines":
        pytest.skip("threads use the same objects")
    array = np.zeros(200_000)

    def change(array):
        array += 1
        return float(array.sum())

    assert Parallel(**options)(delayed(change)(array) for _ in range(6)) == [200_000.0] * 6
    assert not array.any()


@pytest.mark.parametrize("view", [np.s_[:], np.s_[3:, ::2], np.s_[::-1, 5:9], np.s_[7:7]], ids=str)
def test_an_array_of_a_file_is_written_to_by_workers(on_pool, tmp_path, view):
    shape = (12, 11)
    output = np.memmap(tmp_path / "output", dtype="f8", mode="w+", shape=shape, order="F", offset=16)
    expected = np.zeros(shape)
    expected[view] = np.arange(expected[view].size).reshape(expected[view].shape)

    def write(part, row):
        part[row] = np.arange(part.size).reshape(part.shape)[row]

    Parallel()(delayed(write)(output[view], row) for row in range(len(output[view])))

    assert output.tolist() == expected.tolist()


def test_what_is_computed_from_a_files_array_is_no_file(on_pool, tmp_path):
    array = np.memmap(tmp_path / "array", dtype="f8", mode="w+", shape=10) + 1

    assert Parallel()(delayed(np.sum)(array) for _ in range(3)) == [10.0] * 3


# ---- scikit-learn


@pytest.fixture(scope="module")
def dice():
    dice = np.random.default_rng(0)
    features = dice.normal(size=(60, 4))
    return features, (features[:, 0] > 0).astype(int)


def test_a_search_is_told_by_candidates_and_splits(on_pool, dice):
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV

    GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0, 10.0]}, cv=4, refit=False).fit(*dice)

    run = nbpar.last_run
    assert run.label.endswith("(3 candidates, 4 splits)")
    assert (run.snapshot.done, run.snapshot.total) == (12, 12)


def test_a_fit_that_fails_is_named_by_candidate_and_split(on_pool, dice):
    from sklearn.model_selection import GridSearchCV
    from sklearn.tree import DecisionTreeClassifier

    search = GridSearchCV(DecisionTreeClassifier(), {"max_depth": [1, -2, 3]}, cv=2, error_score="raise")
    with pytest.raises(ValueError, match="max_depth") as caught:
        search.fit(*dice)

    text = "".join(traceback.format_exception(caught.value))
    assert "candidate 2 of 3 (max_depth=-2), split " in text
    assert "in _fit_and_score" in text


# ---- options of joblib


def threads_of_a_task():
    from threadpoolctl import threadpool_info

    np.dot(np.ones((50, 50)), np.ones((50, 50)))
    return os.environ["OMP_NUM_THREADS"], {info["num_threads"] for info in threadpool_info()}


def test_threads_within_tasks_are_limited_and_only_there():
    from threadpoolctl import threadpool_info

    if not threadpool_info():
        pytest.skip("numpy has no library with threads here")
    with nbpar.Pool(2, progress="none") as pool:
        with joblib.parallel_config(backend="nbpar", pool=pool, inner_max_num_threads=3):
            limited = Parallel()(delayed(threads_of_a_task)() for _ in range(4))
        with joblib.parallel_config(backend="nbpar", pool=pool):
            free = Parallel()(delayed(threads_of_a_task)() for _ in range(4))

    assert limited == [("3", {3})] * 4
    assert "3" not in {variable for variable, _ in free}


def test_threads_of_one_process_cannot_be_limited_each():
    with (
        nbpar.Pool(2, backend="threads", progress="none") as pool,
        joblib.parallel_config(backend="nbpar", pool=pool, inner_max_num_threads=1),
        pytest.raises(ValueError, match="inner_max_num_threads needs engines"),
    ):
        Parallel()(delayed(square)(n) for n in range(3))


@pytest.mark.parametrize("option", [{"initializer": print}, {"idle_worker_timeout": 3}], ids=str)
def test_options_of_other_workers_are_not_ignored(pool, option):
    refused = f"no option '{next(iter(option))}'"
    with pytest.raises(TypeError, match=refused):
        joblib.parallel_config(backend="nbpar", pool=pool, **option)
    if OLD:  # `Parallel` refuses them itself
        return
    with joblib.parallel_config(backend="nbpar", pool=pool), pytest.raises(TypeError, match=refused):
        Parallel(**option)(delayed(square)(n) for n in range(3))


def test_tasks_may_name_the_backend(on_pool):
    def inner(n):
        return Parallel(n_jobs=2, backend="nbpar")(delayed(square)(k) for k in range(n))

    assert Parallel()(delayed(inner)(n) for n in range(3)) == [[], [0], [0, 1]]


class Counter:
    def __init__(self):
        self.step = self.calls = 0

    def steps(self):
        return self.step

    def count(self):
        self.calls += 1
        return self.calls


def test_methods_have_their_object_as_it_is_at_each_task(pool):
    if pool.backend == "threads":
        pytest.skip("threads use the same objects")
    counter = Counter()

    def tasks():
        for counter.step in range(6):
            yield delayed(counter.steps)()

    with joblib.parallel_config(backend="nbpar", pool=pool):
        assert sorted(set(Parallel(pre_dispatch=1, batch_size=1)(tasks()))) != [0]
        assert Parallel(batch_size=1)(delayed(Counter().count)() for _ in range(6)) == [1] * 6
