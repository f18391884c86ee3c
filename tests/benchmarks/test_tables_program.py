"""The program that measures functions on pandas' tables."""

from __future__ import annotations

import pytest

from benchmarks import tables


@pytest.mark.engines
def test_it_prints_each_side_and_names_what_is_missing(capsys, monkeypatch):
    def missing(_):
        raise ImportError("No module named 'gone'")

    monkeypatch.setitem(tables.SIDES, "dask.dataframe", missing)

    assert tables.main(["--quick", "--only", "pandas", "nbpar", "dask.dataframe", "--work", "rows"]) == 0

    said = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    assert [line[0] for line in said] == ["pandas", "nbpar", "dask.dataframe"]
    assert said[1][-1].endswith("x")
    assert " ".join(said[2][1:]) == "skipped: not installed (No module named 'gone')"


def test_a_wrong_result_is_noticed():
    table = tables.table_of("rows", 3)

    with pytest.raises(ValueError, match="wrong results"):
        tables.timed(lambda table: table["a"], table, table["a"] * 2)
