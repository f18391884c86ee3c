"""Results as a pandas DataFrame."""

from __future__ import annotations

import pickle
import sys
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd
import pytest

from nbpar.core.outcome import Failure, Part
from nbpar.core.results import Results, assemble


class Pair(NamedTuple):
    word: str
    count: int


@dataclass
class Box:
    word: str
    count: int


def failed(index, error):
    return {index: Failure(index, "text", error)}


def test_plain_values_make_one_column():
    frame = assemble([Part(0, [1.5, 2.5])], errors="raise").to_frame()

    expected = pd.DataFrame({"value": [1.5, 2.5]}, index=pd.Index([0, 1], name="item"))
    pd.testing.assert_frame_equal(frame, expected)


@pytest.mark.parametrize("kind", [Pair, Box, lambda word, count: {"word": word, "count": count}])
def test_values_with_named_fields_make_a_column_for_each(kind):
    frame = assemble([Part(0, [kind("a", 1), kind("b", 2)])], errors="raise").to_frame()

    assert frame.to_dict("list") == {"word": ["a", "b"], "count": [1, 2]}


def test_values_of_several_kinds_make_one_column():
    frame = assemble([Part(0, [{"a": 1}, 2, [3]])], errors="raise").to_frame()

    assert list(frame["value"]) == [{"a": 1}, 2, [3]]


def test_dicts_need_not_have_the_same_keys():
    frame = assemble([Part(0, [{"a": 1}, {"b": 2}])], errors="raise").to_frame()

    assert list(frame.columns) == ["a", "b"]
    assert frame["a"].isna().tolist() == [False, True]


def test_a_collected_failure_is_a_row_that_says_why():
    parts = [Part(0, [{"n": 1}, None, {"n": 3}], failed(1, ValueError("no words")))]

    frame = assemble(parts, errors="collect").to_frame()

    assert list(frame.columns) == ["n", "failure"]
    assert frame.loc[1, "failure"] == "ValueError: no words"
    assert frame["n"].isna().tolist() == [False, True, False]
    assert frame["failure"].isna().tolist() == [True, False, True]


def test_when_all_failed_every_row_says_so():
    frame = assemble([Part(0, [None], failed(0, ValueError("no")))], errors="collect").to_frame()

    assert frame["failure"].tolist() == ["ValueError: no"]
    assert frame["value"].isna().all()


def test_rows_of_items_that_were_skipped_are_left_out_and_the_others_keep_their_place():
    parts = [Part(0, [10, None, 12], failed(1, ValueError("no"))), Part(3, [13])]

    frame = assemble(parts, errors="skip").to_frame()

    assert frame.index.tolist() == [0, 2, 3]
    assert frame["value"].tolist() == [10, 12, 13]


def test_rows_know_their_items_when_results_came_in_another_order_or_not_all_came():
    frame = assemble([Part(4, [14, 15]), Part(0, [10])], errors="raise", sort=False).to_frame()

    assert frame.index.tolist() == [4, 5, 0]
    assert frame["value"].tolist() == [14, 15, 10]


def test_a_list_that_was_changed_is_numbered_anew():
    results = assemble([Part(5, [1, 2])], errors="raise")
    results.append(3)

    assert results.to_frame().index.tolist() == [0, 1, 2]


def test_results_keep_their_places_when_they_are_stored():
    results = pickle.loads(pickle.dumps(assemble([Part(5, [1, 2])], errors="raise")))

    assert results.to_frame().index.tolist() == [5, 6]


def test_no_results_make_an_empty_table():
    frame = Results().to_frame()

    assert frame.empty
    assert frame.index.name == "item"


def test_without_pandas_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)

    with pytest.raises(ImportError, match="pip install pandas"):
        Results([1]).to_frame()
