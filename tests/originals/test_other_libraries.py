"""The recipes for other libraries run with these libraries, on nbpar's workers."""

import threading
from pathlib import Path

import dask
import pytest
from adaptive import Learner1D
from adaptive.runner import BlockingRunner

import nbpar
from examples import examples, notebook_shell, shown_by

PAGE = Path(__file__).parents[2] / "docs" / "guide" / "other-libraries.md"
RECIPES = examples(PAGE, "py")


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    with notebook_shell(tmp_path_factory.mktemp("ipython")) as shell:
        yield shell


@pytest.fixture
def pool():
    with nbpar.Pool(2, progress="none") as pool:
        yield pool


@pytest.mark.parametrize("recipe", RECIPES, ids=[recipe.source.split()[1] for recipe in RECIPES])
def test_a_recipe_shows_what_the_page_says(shell, recipe, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    shell.reset(new_session=False)

    assert shown_by(shell, recipe.source) == recipe.text


def test_dask_has_no_more_tasks_under_way_than_there_are_workers(pool):
    under_way, most, lock = [], [], threading.Lock()
    executor = pool.executor()
    submit = executor.submit

    def counted(*args, **kwargs):
        future = submit(*args, **kwargs)
        with lock:
            under_way.append(future)
            most.append(sum(not known.done() for known in under_way))
        return future

    executor.submit = counted
    with dask.config.set(scheduler=executor):
        assert dask.compute(*(dask.delayed(pow)(n, 2) for n in range(20))) == tuple(n * n for n in range(20))

    assert max(most) <= pool.size


def test_an_exception_of_a_task_arrives_as_itself(pool):
    with dask.config.set(scheduler=pool.executor()), pytest.raises(ZeroDivisionError):
        dask.delayed(lambda n: 1 / n)(0).compute()


def test_adaptive_says_what_it_needs(pool):
    """When this fails, adaptive knows the number of workers: `ntasks=` can leave the guide."""
    learner = Learner1D(lambda x: x * x, bounds=(0, 1))

    with pytest.raises(TypeError, match="Cannot get number of cores"):
        BlockingRunner(learner, npoints_goal=5, executor=pool.executor())
