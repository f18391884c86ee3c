"""The program that measures large data."""

from __future__ import annotations

import os
import re

import pytest

from benchmarks import data


@pytest.mark.engines
def test_it_prints_time_and_memory_of_each_case(capsys, monkeypatch):
    for name in ("PYTHONPATH", "IPYTHONDIR"):  # which the program sets
        monkeypatch.setenv(name, os.environ.get(name, ""))
    assert data.main(["--quick", "--workers", "2", "--sizes", "1", "--total", "4", "--only", "nbpar"]) == 0

    _, *lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines] == ["items", "results", "both", "argument"]
    assert all(re.search(r"4 x 1 MB .* \d+\.\d\d s +\d+ MB$", line) for line in lines)


@pytest.mark.parametrize("name", ["items", "results", "both", "argument"])
def test_a_wrong_result_is_noticed(name):
    function, items, right = data.cases(8192, 2)[name]
    found = [function(item) for item in items]

    assert right(found)
    assert not right(found[::-1])
