"""Errors and warnings about the input before any of it is sent."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

import nbpar
from nbpar.pool.inputs import warn_of_repetition
from nbpar.wire.shared import Shared

LARGE = {number: str(number) for number in range(100_000)}
ARRAY = np.zeros(10_000_000, dtype="u1")


REPEATED = [
    ([(LARGE, n) for n in range(11)],),
    ([LARGE] * 11,),
    ([LARGE] * 11, range(11)),
]


@pytest.mark.parametrize("iterables", REPEATED, ids=["starmap", "map", "several inputs"])
def test_a_large_object_in_each_item_is_told_of(iterables):
    with pytest.warns(UserWarning, match=r"the same dict \(1\d MB\) is in each of 11 items .*pool.share"):
        warn_of_repetition(iterables)


@pytest.mark.parametrize(
    "iterables",
    [
        ([(LARGE, n) for n in range(3)],),
        ([(ARRAY, n) for n in range(100)],),
        ([pd.DataFrame({"a": ARRAY, "b": ARRAY})] * 100,),
        ([(LARGE.copy(), n) for n in range(2)] * 10,),
        ([(1, "a")] * 1000,),
        ([LARGE],),
        ([],),
        (),
        (iter([LARGE] * 11),),
        (range(10**9),),
        ([Shared(LARGE)] * 11,),
    ],
    ids=[
        "few",
        "array",
        "table",
        "different",
        "small",
        "one",
        "none",
        "nothing",
        "not read",
        "numbers",
        "shared",
    ],
)
def test_nothing_is_said_of_other_input(iterables):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_repetition(iterables)


def test_threads_share_it_anyway():
    with nbpar.Pool(1, backend="threads") as pool:
        assert pool.starmap(lambda data, n: n, [(LARGE, n) for n in range(11)]) == list(range(11))


@pytest.mark.engines
def test_the_warning_points_at_the_call():
    with nbpar.Pool(1) as pool, pytest.warns(UserWarning, match="is sent with each") as caught:
        pool.starmap(lambda data, n: n, [(LARGE, n) for n in range(11)])

    assert caught[0].filename == __file__
