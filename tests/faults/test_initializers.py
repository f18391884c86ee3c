"""Faults: a pool's initializer kills its worker, hangs, or exits the interpreter."""

from __future__ import annotations

import ctypes
import os
import time

import pytest

import nbpar
from nbpar.testing import until

pytestmark = pytest.mark.engines


@pytest.fixture(autouse=True)
def usable_again():
    """These tests have pools of their own."""


def exits():
    os._exit(3)


def crashes():
    ctypes.string_at(0)


@pytest.mark.parametrize(
    ("initializer", "death"),
    [(exits, "exit code 3"), (crashes, "killed by SIGSEGV")],
    ids=["exits", "crashes"],
)
def test_an_initializer_that_kills_its_worker_ends_the_run_and_is_named(initializer, death):
    with nbpar.Pool(2, initializer=initializer, progress="none") as pool:
        name = initializer.__name__
        with pytest.raises(
            nbpar.WorkerDied, match=f"initializer `{name}` killed its worker 3 times.*{death}"
        ):
            pool.map(abs, [1, 2])


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit, BaseException])
@pytest.mark.parametrize("backend", ["engines", "threads"])
def test_an_initializer_that_raises_anything_ends_the_run(backend, error):
    def fails():
        raise error("no license")

    with nbpar.Pool(1, backend=backend, initializer=fails, progress="none") as pool:
        for _ in range(2):
            run = pool.map_async(abs, [1])
            with pytest.raises(
                BaseException, match=r"no license|it raised (KeyboardInterrupt|GeneratorExit)"
            ):
                run.get(60)


def test_an_initializer_that_hangs_is_stopped_with_its_run_and_begun_again_by_the_next(tmp_path):
    begun, free = tmp_path / "begun", tmp_path / "free"

    def hangs():
        begun.touch()
        while not free.exists():
            time.sleep(0.01)

    with nbpar.Pool(1, initializer=hangs, progress="none") as pool:
        run = pool.map_async(abs, [-1])
        until(begun.exists)
        begun.unlink()
        run.cancel()
        assert run.state == "stopped"

        again = pool.map_async(abs, [-2])
        until(begun.exists)
        free.touch()

        assert again.get(60) == [2]


@pytest.mark.parametrize("errors", ["raise", "collect"])
def test_a_stage_whose_initializer_kills_its_workers_ends_the_pipeline_and_names_it(errors):
    stages = [nbpar.Stage(abs, backend="threads"), nbpar.Stage(abs, workers=2, initializer=exits)]

    with (
        nbpar.Pool(2, progress="none") as pool,
        nbpar.Pipeline(stages, pool=pool) as pipeline,
        pytest.raises(nbpar.WorkerDied, match=r"the initializer `exits` .*killed its worker.*exit code 3"),
    ):
        pipeline.map(range(100), errors=errors, progress="none")


def test_a_vectorizer_names_a_worker_init_that_kills_its_workers():
    from nbpar.compat.pyblaze import Vectorizer

    def load(rank):
        os._exit(3)

    with nbpar.Pool(2, progress="none") as pool:
        vectorizer = Vectorizer(lambda item: item, load, num_workers=2)
        vectorizer.pool, vectorizer.progress = pool, "none"

        with pytest.raises(
            nbpar.WorkerDied, match=r"the initializer `load` .*killed its worker.*exit code 3"
        ):
            vectorizer.process([1, 2, 3, 4])


def test_an_item_that_kills_after_its_worker_was_prepared_is_named_itself():
    stage = nbpar.Stage(lambda item: os._exit(4) if item == 7 else item, initializer=int)

    with nbpar.Pool(1, progress="none") as pool, nbpar.Pipeline([stage], pool=pool) as pipeline:
        results = pipeline.map(range(9), errors="collect", progress="none")

        [failure] = results.failures
        assert (failure.index, "initializer" in str(failure.exception)) == (7, False)
