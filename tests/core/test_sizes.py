"""The size of a value is estimated without copying it and without trusting its code."""

from __future__ import annotations

import sys
import types
from collections import deque
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from user_code import leave, press_ctrl_c

from nbpar.core.sizes import estimated_bytes, small


class Holder:
    def __init__(self, **parts):
        vars(self).update(parts)


@given(st.one_of(st.none(), st.integers(), st.floats(), st.text(), st.binary()))
def test_plain_values_have_their_exact_size(value):
    assert estimated_bytes(value) == sys.getsizeof(value)


@pytest.mark.parametrize(
    "value",
    [
        np.zeros(1_000_000, "u1"),
        memoryview(bytes(1_000_000)),
        pd.Series(np.zeros(1_000_000, "u1")),
        pd.DataFrame({"a": np.zeros(500_000, "u1"), "b": np.zeros(500_000, "u1")}),
        [bytes(1000)] * 1000,
        (bytes(1000),) * 1000,
        deque([bytes(1000)] * 1000),
        {number.to_bytes(1000, "big") for number in range(1000)},
        {number: bytes(1000) for number in range(1000)},
        {number.to_bytes(1000, "big"): None for number in range(1000)},
        Holder(a=bytes(500_000), b=[bytes(500_000)]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_megabyte_is_found_in_whatever_holds_it(value):
    assert estimated_bytes(value) == pytest.approx(1e6, rel=0.2)


def test_the_texts_of_a_table_are_not_read(monkeypatch):
    looked = []
    monkeypatch.setattr(pd.DataFrame, "__sizeof__", lambda table: looked.append(table) or 10**9)

    assert estimated_bytes(pd.DataFrame({"a": ["text"] * 1000})) < 100_000
    assert not looked


def test_no_further_than_a_few_levels_and_elements_are_looked_at():
    looked = []

    class Watched:
        @property
        def nbytes(self):
            looked.append(self)
            return 100

    assert estimated_bytes([Watched() for _ in range(1000)]) > 100_000
    assert len(looked) <= 20

    deep = [[[[Watched()]]]]
    looked.clear()
    assert estimated_bytes(deep) < 1000
    assert not looked
    assert estimated_bytes([bytes(1000)], depth=0) < 100


@pytest.mark.parametrize("value", [np, Holder, int], ids=str)
def test_modules_and_classes_are_not_sent_and_count_nothing(value):
    assert estimated_bytes(value) == 0


@pytest.mark.parametrize("value", [[], (), {}, set(), deque(), object(), len])
def test_what_holds_nothing_has_its_own_size(value):
    assert estimated_bytes(value) == sys.getsizeof(value)


def test_a_function_does_not_count_its_attributes():
    def function():
        """Has a large attribute."""

    function.cache = bytes(1_000_000)

    assert estimated_bytes(function) < 1000


@pytest.mark.parametrize("nbytes", ["1 MB", None, 1.5, property(leave)])
def test_a_size_that_is_no_number_is_not_believed(nbytes):
    odd = type("Odd", (), {"nbytes": nbytes})()

    assert 0 < estimated_bytes(odd) < 1000


def test_what_cannot_be_looked_at_counts_nothing():
    odd = type("Odd", (list,), {"__iter__": leave})([1])

    assert estimated_bytes(odd) == 0
    assert estimated_bytes([odd]) == sys.getsizeof([odd])


@pytest.mark.parametrize(
    "value",
    [
        type("Odd", (), {"nbytes": property(press_ctrl_c)})(),
        type("Odd", (list,), {"__iter__": press_ctrl_c})([1]),
    ],
)
def test_ctrl_c_while_it_looks_is_not_swallowed(value):
    with pytest.raises(KeyboardInterrupt):
        estimated_bytes(value)


@pytest.mark.parametrize("item", [1, "name", None, Path("/data/file.csv"), (1, "a", Path("x")), b"x" * 900])
def test_short_plain_values_paths_and_small_tuples_are_small(item):
    assert small([item])


@pytest.mark.parametrize(
    "item", ["x" * 2000, [1], {}, (1, [2]), (1, (2, 3)), tuple(range(30)), np.zeros(1), Holder()]
)
def test_anything_that_may_hold_more_is_not_small(item):
    assert not small([1, item])


@pytest.mark.parametrize(("nbytes", "expected"), [(1000, True), (1001, False)])
def test_packed_items_are_small_if_their_bytes_are_few(nbytes, expected):
    packed = types.SimpleNamespace(packed=types.SimpleNamespace(nbytes=nbytes))

    assert small(packed) is expected
