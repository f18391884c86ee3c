"""joblib's Parallel, and scikit-learn, on nbpar's workers."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from pathlib import Path

import joblib
import numpy as np
import pytest
from joblib import Parallel, delayed

import nbpar
from nbpar.testing import Gate

pytestmark = [pytest.mark.engines, pytest.mark.usefixtures("known")]


@pytest.fixture
def on_pool(pool):
    with joblib.parallel_config(backend="nbpar", pool=pool):
        yield pool


def where(_):
    return os.getpid(), threading.get_ident()


def fail(n):
    if n == 3:
        raise ValueError("no 3")
    return n


def test_results_come_in_order(on_pool):
    assert Parallel()(delayed(pow)(n, 2) for n in range(50)) == [n * n for n in range(50)]


def test_functions_of_a_notebook_travel(on_pool):
    factor = 3

    assert Parallel()(delayed(lambda n: factor * n)(n) for n in range(5)) == [0, 3, 6, 9, 12]


def test_it_runs_on_the_pools_workers(on_pool):
    places = set(Parallel(batch_size=1)(delayed(where)(n) for n in range(20)))

    pids = {int(facts["pid"]) for facts in on_pool.workers}
    assert {pid for pid, _ in places} <= pids
    assert threading.get_ident() not in {thread for _, thread in places}


def test_different_functions_may_be_mixed(on_pool):
    calls = [delayed(abs)(-1), delayed(max)([1, 5]), delayed("a-b".split)("-")]

    assert Parallel()(calls) == [1, 5, ["a", "b"]]


def test_keyword_arguments_are_given(on_pool):
    assert Parallel()(delayed(sorted)([1, 3, 2], reverse=True) for _ in range(2)) == [[3, 2, 1]] * 2


def test_what_fails_raises_as_itself(on_pool):
    with pytest.raises(ValueError, match="no 3"):
        Parallel()(delayed(fail)(n) for n in range(10))
    assert Parallel()(delayed(abs)(n) for n in (-1, 2)) == [1, 2]


def test_what_runs_is_stopped_when_something_fails(pool, tmp_path):
    if pool.backend != "engines":
        pytest.skip("a thread cannot be stopped")
    gate = Gate(str(tmp_path))

    def wait_or_fail(n):
        if n:
            gate.wait(60)
        gate.until_waiting()
        raise ValueError("no")

    began = time.monotonic()
    with joblib.parallel_config(backend="nbpar", pool=pool), pytest.raises(ValueError, match="no"):
        Parallel(batch_size=1)(delayed(wait_or_fail)(n) for n in (1, 0))

    assert pool.map(abs, [-1, -2]) == [1, 2]
    assert time.monotonic() - began < 50


def test_results_can_be_taken_as_they_come(on_pool):
    results = Parallel(return_as="generator")(delayed(pow)(n, 2) for n in range(8))
    assert list(results) == [n * n for n in range(8)]

    results = Parallel(return_as="generator_unordered")(delayed(pow)(n, 2) for n in range(8))
    assert sorted(results) == [n * n for n in range(8)]


def test_input_is_read_only_as_needed(on_pool):
    read = []

    def source():
        for n in range(1000):
            read.append(n)
            yield delayed(abs)(n)

    results = Parallel(return_as="generator", pre_dispatch=4, batch_size=1)(source())
    first = next(results)
    seen = len(read)
    rest = list(results)

    assert [first, *rest] == list(range(1000))
    assert seen < 1000


def test_a_timeout_raises(pool, tmp_path):
    gate = Gate(str(tmp_path))
    try:
        with joblib.parallel_config(backend="nbpar", pool=pool), pytest.raises(multiprocessing.TimeoutError):
            Parallel(timeout=0.3)(delayed(gate.wait)() for _ in range(2))
    finally:
        gate.open()


def test_parallel_within_parallel_ends(on_pool):
    def inner(n):
        return sum(Parallel(n_jobs=2)(delayed(abs)(-k) for k in range(n)))

    assert Parallel()(delayed(inner)(n) for n in range(4)) == [0, 0, 1, 3]


def test_the_default_pool_gets_as_many_workers_as_jobs_are_asked_for():
    try:
        with joblib.parallel_config(backend="nbpar", n_jobs=2):
            assert Parallel()(delayed(abs)(n) for n in (-1, 1)) == [1, 1]
            assert nbpar.pool.defaults.default_pool().size == 2
        with joblib.parallel_backend("nbpar", n_jobs=3):
            assert joblib.effective_n_jobs(None) == 3
    finally:
        nbpar.pool.defaults.close_default_pools()


def test_one_job_needs_no_worker():
    with joblib.parallel_config(backend="nbpar", n_jobs=1):
        assert Parallel()(delayed(os.getpid)() for _ in range(2)) == [os.getpid()] * 2


def test_without_a_number_of_jobs_there_is_one_as_with_joblibs_own_backends(pool):
    with joblib.parallel_config(backend="nbpar"):
        assert joblib.effective_n_jobs(None) == Parallel().n_jobs == 1
        assert Parallel()(delayed(where)(n) for n in range(2)) == [where(0)] * 2
    with joblib.parallel_config(backend="nbpar", pool=pool):
        assert joblib.effective_n_jobs(None) == 2
        assert where(0) not in Parallel()(delayed(where)(n) for n in range(2))


def test_inside_an_item_it_runs_right_there():
    def inner(n):
        nbpar.register_joblib()
        with joblib.parallel_config(backend="nbpar", n_jobs=4):
            return Parallel()(delayed(pow)(k, 2) for k in range(n))

    with nbpar.Pool(2, backend="threads", progress="none") as pool:
        assert pool.map(inner, [1, 3]) == [[0], [0, 1, 4]]


def test_no_jobs_are_refused(pool):
    with joblib.parallel_config(backend="nbpar", n_jobs=0), pytest.raises(ValueError, match="n_jobs == 0"):
        Parallel()(delayed(abs)(n) for n in (1, 2))


def test_a_large_array_among_the_arguments_is_in_memory_once(pool):
    array = np.arange(500_000, dtype=float)

    def look(part, i, *, whole):
        lines = Path("/proc/self/maps").read_text().splitlines() if Path("/proc").exists() else []
        files = {line.split()[-2] for line in lines if "memfd:nbpar-" in line}
        return float(part[i] + whole[i]), len(files), part.flags.writeable

    with joblib.parallel_config(backend="nbpar", pool=pool):
        looks = Parallel(batch_size=1)(delayed(look)(array, i, whole=array) for i in range(10))

    assert [value for value, _, _ in looks] == [2.0 * i for i in range(10)]
    if pool.backend == "engines" and hasattr(os, "memfd_create"):
        assert {(files, writable) for _, files, writable in looks[2:]} == {(1, False)}
        assert not any(writable for _, _, writable in looks)


def test_scikit_learn_finds_the_same_as_alone(on_pool):
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, cross_val_score

    dice = np.random.default_rng(0)
    features = dice.normal(size=(120, 5))
    labels = (features[:, 0] + 0.3 * dice.normal(size=120) > 0).astype(int)
    model = LogisticRegression()

    scores = cross_val_score(model, features, labels, cv=4)
    search = GridSearchCV(model, {"C": [0.01, 1.0]}, cv=3).fit(features, labels)

    with joblib.parallel_config(backend="sequential"):
        assert scores.tolist() == cross_val_score(model, features, labels, cv=4).tolist()
        alone = GridSearchCV(model, {"C": [0.01, 1.0]}, cv=3).fit(features, labels)
    assert search.best_params_ == alone.best_params_
    assert search.best_score_ == alone.best_score_


def test_a_forest_of_scikit_learn_grows_on_it(on_pool):
    from sklearn.ensemble import RandomForestClassifier

    dice = np.random.default_rng(0)
    features = dice.normal(size=(80, 4))
    labels = (features[:, 0] > 0).astype(int)

    forest = RandomForestClassifier(10, random_state=0).fit(features, labels)

    assert forest.score(features, labels) > 0.9
