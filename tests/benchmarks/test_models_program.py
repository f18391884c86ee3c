"""The program that measures joblib and scikit-learn."""

from __future__ import annotations

import re

import pytest

from benchmarks import models


@pytest.mark.engines
def test_it_prints_each_backend_warm_and_cold(capsys):
    assert models.main(["--quick", "--only", "nbpar", "threading"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line] == [
        "tiny,",
        "nbpar",
        "threading",
        "fits,",
        "nbpar",
        "threading",
    ]
    assert all(len(re.findall(r"\d\.\d{3} s", line)) == 4 for line in lines if line.startswith("  "))


def test_a_wrong_result_is_noticed(monkeypatch):
    monkeypatch.setattr(models, "increased", lambda number: number)

    with pytest.raises(ValueError, match="wrong results"):
        models.tiny(3)
