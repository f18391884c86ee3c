"""Pure: the magic is found in the cell, and lines keep their numbers."""

from __future__ import annotations

import pytest

from nbpar.notebook.cell_source import CellSource, line_numbers, locate

MAGIC = "%%parallel_map"


@pytest.mark.parametrize(
    ("cell", "header"),
    [
        ("%%parallel_map x in xs\nbody\nmore", 1),
        ("\n\n%%parallel_map x in xs\nbody\nmore\n\n", 3),
        ("%%time\n%%parallel_map x in xs\n\nbody\nmore", 2),
        ("    %%parallel_map x in xs\n    body\n    more", 1),
    ],
)
def test_the_magic_is_found_in_the_cell(cell, header):
    assert locate(MAGIC, "x in xs", "body\nmore\n", cell) == (cell, header)


@pytest.mark.parametrize("cell", [None, "", "other", "%%parallel_map x in xs\nother", "f(1)\nbody\nmore"])
def test_a_magic_that_the_cell_does_not_hold_stands_in_a_cell_of_its_own(cell):
    assert locate(MAGIC, "x in xs", "body\nmore\n", cell) == ("%%parallel_map x in xs\nbody\nmore\n", 1)


def test_a_column_is_counted_in_bytes():
    place = CellSource("<cell>", "%%parallel_map --label ä x in xs", 1)

    assert place.column("x in xs") == 26
    assert place.column("not there") == 0


@pytest.mark.parametrize(
    ("before", "after", "numbers"),
    [
        ("a\nb\nc", "A\nb\nC", [1, 2, 3]),
        ("!a \\\n  b\nc\nd", "run\nc\nd", [1, 3, 4]),
        ("a\n!b \\\n  c \\\n  d\ne", "a\nrun\ne", [1, 2, 5]),
        ("a\nb", "a\nb\nb2\nb3", [1, 2, 2, 2]),
        ("", "", []),
    ],
)
def test_lines_keep_their_numbers_through_a_transformation(before, after, numbers):
    assert line_numbers(before, after) == numbers
