"""Pure: the objects that are sent with a function, and their approximate size."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest

from nbpar.notebook.captured import captured, estimated_bytes, mentions


@pytest.fixture
def define(make):
    """Run a cell, and make the function of a body that follows it."""

    def define_function(cell, body):
        names = {"__name__": "__main__"}
        exec(cell, names)
        return make("x in xs", body, names)

    return define_function


def test_names_are_followed_through_the_functions_that_travel(define):
    function = define(
        "unit = 2\nother = 3\ndef area(v): return v * unit\ndef total(v): return area(v)", "total(x)"
    )

    assert captured(function).keys() == {"total", "area", "unit"}


def test_what_workers_import_for_themselves_is_not_followed(define):
    function = define("import json\nfrom json import dumps", "dumps(json.loads(x))")

    assert captured(function) == {"dumps": json.dumps, "json": json}


def test_names_are_followed_through_classes_methods_and_partials(define):
    cell = (
        "from functools import partial\n"
        "a = b = c = d = 1\n"
        "class Base:\n    def f(self): return a\n"
        "class Box(Base):\n    @property\n    def g(self): return b\n"
        "    @staticmethod\n    def h(): return c\n"
        "def use(v): return d\n"
        "used = partial(use, 1)\n"
        "bound = Box().f\n"
    )

    assert {"a", "b", "c", "d"} <= captured(define(cell, "Box, used, bound")).keys()


def test_names_are_followed_through_closures_and_defaults(define):
    cell = "def maker(big):\n    def inner(v, k=[1]): return big\n    return inner\ninner = maker('big')"

    assert captured(define(cell, "inner(x)")) | {"inner": None} == {"inner": None, "big": "big", "k": [1]}


def test_values_that_the_body_starts_with_are_captured(define):
    assert captured(define("total = 5", "total = total + x\ntotal")) == {"total": 5}


def test_recursion_ends(define):
    function = define(
        "def even(v): return v == 0 or odd(v - 1)\ndef odd(v): return v and even(v - 1)", "even(x)"
    )

    assert captured(function).keys() == {"even", "odd"}


class Table:
    """A frame, as pandas makes it."""

    __module__ = "pandas.core.frame"

    def memory_usage(self):
        return np.array([80, 8_000])


class Trap:
    @property
    def nbytes(self):
        raise RuntimeError("not now")


class Holder:
    def __init__(self):
        self.array = np.zeros(1_000_000)


@pytest.mark.parametrize(
    ("value", "least", "most"),
    [
        (np.zeros(1_000_000), 8_000_000, 8_000_000),
        (np.zeros((1_000, 1_000))[:10], 80_000, 80_000),
        (Table(), 8_080, 8_080),
        (b"x" * 1_000_000, 1_000_000, 1_001_000),
        ("ä" * 1_000_000, 1_000_000, 2_001_000),
        ([np.zeros(1_000)] * 1_000, 8_000_000, 8_100_000),
        ({"a": {"b": np.zeros(1_000_000)}}, 8_000_000, 8_100_000),
        (Holder(), 8_000_000, 8_100_000),
        (np, 0, 0),
        (Holder, 0, 0),
        (Trap(), 1, 1_000),
        (partial(print, 1), 1, 1_000),
        ([], 1, 1_000),
    ],
)
def test_a_size_is_estimated_without_pickling(value, least, most):
    assert least <= estimated_bytes(value) <= most


def test_only_large_values_are_mentioned():
    large = np.broadcast_to(np.zeros(1), (150_000_000,))

    assert mentions({"df": large, "small": 1}) == ["captured `df`: 1.2 GB, sent once"]
