"""Results are found in any order, also if only few are read at a time."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nbpar.journal import reader
from nbpar.journal.identity import identify
from nbpar.journal.journal import Journal


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    """See a few rows at a time."""
    monkeypatch.setattr(reader, "PAGE", 3)
    monkeypatch.setattr(reader, "WINDOW", 7)
    monkeypatch.setattr(reader, "ASKED", 2)


def opened(name):
    return Journal.open(name, identify(abs, spread="one", seed=None))


def key(number):
    return b"%d" % number


def write(name, numbers):
    book = opened(name)
    book.add([(key(number), number) for number in numbers])
    book.close()


def read(name, numbers, batch):
    """Return the results that are found, by number."""
    book = opened(name)
    found = {}
    for start in range(0, len(numbers), batch):
        some = numbers[start : start + batch]
        rows = book.find([key(number) for number in some]) if book.known else []
        found.update({n: book.value(row) for n, row in zip(some, rows, strict=bool(rows)) if row is not None})
    book.close()
    return found


names = map("journal {}".format, range(10**9))


@settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
@given(
    written=st.lists(st.integers(0, 40), max_size=60),
    asked=st.permutations(range(45)),
    batch=st.integers(1, 10),
)
def test_what_is_there_is_found_and_nothing_else(written, asked, batch):
    name = next(names)
    write(name, written)

    assert read(name, asked, batch) == {number: number for number in written}


@pytest.mark.parametrize("order", [range(30), range(29, -1, -1)], ids=["as written", "backwards"])
def test_of_two_results_of_an_item_the_one_that_is_whole_serves(folder, order):
    write("twice", range(30))
    with closing(sqlite3.connect(folder / "twice.sqlite")) as connection, connection:
        connection.execute("UPDATE results SET sum = sum + 1 WHERE rowid % 3 = 1")
    write("twice", range(0, 30, 3))

    assert read("twice", list(order), 4) == {number: number for number in range(30)}
