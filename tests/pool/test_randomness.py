"""Functions that draw from random generators shared by threads cause a warning."""

from __future__ import annotations

import random
import warnings
from random import gauss

import numpy as np
import pytest
from numpy.random import normal

import nbpar
from nbpar.pool.seed_warning import shared_generator

generator = np.random.default_rng(0)
_own = random.Random(0)

FUNCTIONS = """
def module(_): return random.random()
def name(_): return gauss(0, 1)
def legacy(_): return np.random.rand()
def legacy_name(_): return normal()
def by_another(_): return module(_)
def nested(_): return [random.random() for _ in range(2)]
def imported(_):
    import numpy.random
    return numpy.random.rand()
def own(_): return _own.random()
def ours(_): return nbpar.rng().random()
def numpy_without_random(_): return np.sqrt(2)
def of_numpys_new_kind(_): return generator.random()
def itself(_): return itself(_)
"""


@pytest.fixture
def notebook():
    """Functions of a notebook, which have no module to be imported from."""
    names = {
        "__name__": "__main__", "random": random, "gauss": gauss, "np": np, "normal": normal,
        "nbpar": nbpar, "generator": generator, "_own": _own,
    }  # fmt: skip
    exec(FUNCTIONS, names)
    return names


@pytest.mark.parametrize(
    ("function", "used"),
    [
        ("module", "random"),
        ("name", "gauss"),
        ("legacy", "np.random"),
        ("legacy_name", "normal"),
        ("by_another", "random"),
        ("nested", "random"),
        ("imported", "numpy.random"),
        ("own", None),
        ("ours", None),
        ("numpy_without_random", None),
        ("of_numpys_new_kind", None),
        ("itself", None),
    ],
)
def test_a_shared_generator_is_found_by_the_name_under_which_it_is_used(notebook, function, used):
    assert shared_generator(notebook[function]) == used


def test_a_method_of_the_shared_generator_is_one():
    assert shared_generator(random.random) == "random"
    assert shared_generator(_own.random) is None
    assert shared_generator(abs) is None


def test_a_seed_on_threads_warns_of_what_it_cannot_govern(notebook):
    with nbpar.Pool(2, backend="threads", progress="none") as pool:
        with pytest.warns(UserWarning, match=r"only nbpar.rng\(\) repeatable on threads.*`random`") as caught:
            pool.map(notebook["module"], range(3), seed=1)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            first = pool.map(notebook["ours"], range(9), seed=1)
            assert pool.map(notebook["ours"], range(9), seed=1, chunksize=1) == first
            pool.map(notebook["module"], range(3))

    assert [warning.filename for warning in caught] == [__file__]


@pytest.mark.parametrize("backend", ["serial", "engines"])
def test_where_each_item_has_the_generators_to_itself_nothing_is_said(notebook, backend):
    with nbpar.Pool(2, backend=backend, progress="none") as pool:
        first = pool.map(notebook["module"], range(9), seed=1)
        assert pool.map(notebook["module"], range(9), seed=1, chunksize=1) == first
