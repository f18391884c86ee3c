"""Short names of items in messages."""

import numpy as np
import pandas as pd
import pytest

from nbpar.core.text import short

TABLE = pd.DataFrame({"day": range(9535), "shop": 1, "kind": "some"})


@pytest.mark.parametrize(
    ("item", "text"),
    [
        (TABLE, "<DataFrame of shape (9535, 3)>"),
        ((0, TABLE), "(0, <DataFrame of shape (9535, 3)>)"),
        ({"all": [TABLE]}, "{'all': [<DataFrame of shape (9535, 3)>]}"),
        (TABLE["day"], "<Series of shape (9535,), int64>"),
        (np.zeros((1000, 3)), "<ndarray of shape (1000, 3), float64>"),
        (np.arange(3), "array([0, 1, 2])"),
        (np.float64(0.5), repr(np.float64(0.5))),
    ],
)
def test_a_table_is_named_by_its_shape_and_a_small_array_by_its_values(item, text):
    assert short(item) == text


def test_a_representation_of_several_lines_becomes_one():
    class Model:
        def __repr__(self):
            return "Model(\n    depth=3,\n    rate=0.1,\n)"

    assert short([Model()]) == "[Model( depth=3, rate=0.1, )]"


def test_a_small_table_is_on_one_line_too():
    assert short(TABLE.head(2)) == "day shop kind 0 0 1 some 1 1 1 some"


def test_a_text_keeps_its_blanks():
    assert short("two  blanks") == "'two  blanks'"


@pytest.mark.parametrize("item", [["x" * 80] * 4, [["x" * 80] * 4] * 4, "x" * 10_000, list(range(1000))])
def test_nothing_is_much_longer_than_asked_for(item):
    assert len(short(item, 100)) <= 200


def test_what_cannot_say_its_shape_is_shown_all_the_same():
    class Odd:
        @property
        def shape(self):
            raise RuntimeError("no shape yet")

    class Plain:
        shape = "round"

        def __repr__(self):
            return "Plain()"

    assert short(Odd()) == "a Odd"
    assert short(Plain()) == "Plain()"
