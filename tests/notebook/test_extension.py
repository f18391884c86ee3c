"""Collaboration: `%load_ext nbpar` in a real shell; nothing is started."""

from __future__ import annotations

import pytest

from nbpar.errors import ClusterError
from nbpar.notebook import load_ipython_extension, unload_ipython_extension


@pytest.fixture
def warmed(monkeypatch):
    calls = []
    monkeypatch.setattr("nbpar.cluster.spare.warm", lambda: calls.append("warm"))
    monkeypatch.setattr("nbpar.cluster.spare.cool", lambda: calls.append("cool"))
    return calls


def test_loading_adds_the_magics_and_warms_up(shell, warmed):
    load_ipython_extension(shell)
    load_ipython_extension(shell)

    assert shell.find_cell_magic("parallel_map") is not None
    assert shell.find_line_magic("nbpar") is not None
    assert warmed == ["warm", "warm"]
    assert len(shell.events.callbacks["pre_run_cell"]) == 1


def test_unloading_leaves_nothing_behind(shell, warmed):
    load_ipython_extension(shell)
    unload_ipython_extension(shell)

    assert shell.find_cell_magic("parallel_map") is None
    assert shell.events.callbacks["pre_run_cell"] == []
    assert warmed == ["warm", "cool"]


def test_a_warm_up_that_fails_does_not_keep_the_magics_away(shell, monkeypatch):
    def warm():
        raise ClusterError("no room")

    monkeypatch.setattr("nbpar.cluster.spare.warm", warm)
    load_ipython_extension(shell)

    assert shell.find_cell_magic("parallel_map") is not None
