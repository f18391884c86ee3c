"""Collaboration: `%load_ext nbpar` in a real shell; nothing is started."""

from __future__ import annotations

import pytest

from nbpar.notebook import load_ipython_extension, unload_ipython_extension


@pytest.fixture
def calls(monkeypatch):
    calls = []
    monkeypatch.setattr("nbpar.pool.defaults.default_pool", lambda: calls.append("start"))
    monkeypatch.setattr("nbpar.pool.defaults.close_default_pools", lambda: calls.append("close"))
    return calls


def test_loading_adds_the_magics_and_starts_a_cluster(shell, calls):
    load_ipython_extension(shell)
    load_ipython_extension(shell)

    assert shell.find_cell_magic("parallel_map") is not None
    assert shell.find_line_magic("nbpar") is not None
    assert calls == ["start", "start"]
    assert len(shell.events.callbacks["pre_run_cell"]) == 1


def test_unloading_leaves_nothing_behind(shell, calls):
    load_ipython_extension(shell)
    unload_ipython_extension(shell)

    assert shell.find_cell_magic("parallel_map") is None
    assert shell.events.callbacks["pre_run_cell"] == []
    assert calls == ["start", "close"]
