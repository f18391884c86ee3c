"""Outputs of a marimo cell, with a stand-in of marimo's interface; the real one is in tests/originals."""

import sys
from types import ModuleType, SimpleNamespace

import pytest
from fake_runs import FakeRun, Pressed

from nbpar.views.base import Silent
from nbpar.views.choose import choose
from nbpar.views.marimo_view import PATIENCE, MarimoView
from nbpar.views.text import Text


class Bar:
    """A progress bar, or a spinner, of marimo."""

    def __init__(self, log, **made):
        self.log = log
        log.append(made)

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.log.append("gone")

    def update(self, **told):
        self.log.append(told)


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def log(monkeypatch):
    log = []
    marimo = ModuleType("marimo")
    marimo.running_in_notebook = lambda: True
    marimo.status = SimpleNamespace(
        progress_bar=lambda **made: Bar(log, **made), spinner=lambda **made: Bar(log, spins=True, **made)
    )
    monkeypatch.setitem(sys.modules, "marimo", marimo)
    return log


def test_a_run_has_a_bar_and_leaves_a_printed_line(log, capsys):
    run, clock = FakeRun(12, label="count"), Clock()
    view = MarimoView(label="count", total=12, gain=lambda _: 1.9, clock=clock)

    view.show(run.snapshot)
    assert log == []

    clock.now = PATIENCE
    run.work("0", 4, fail={1: ValueError()})
    view.show(run.snapshot)
    run.work("0", 3)
    view.show(run.snapshot)
    assert log == [
        {"title": "count", "total": 12, "remove_on_exit": True},
        {"increment": 4, "subtitle": "4 of 12 done, 1 failed"},
        {"increment": 3, "subtitle": "7 of 12 done, 1 failed"},
    ]

    run.work("0", 5)
    view.close(run.finish)
    view.close(run.snapshot)
    assert log[3:] == ["gone"]
    assert capsys.readouterr().out.startswith(
        "count: 11 of 12 done, 300 ms on 2 workers, 1.9x, 1 failed: item 1"
    )


def test_a_run_of_unknown_length_spins(log):
    run, clock = FakeRun(None), Clock()
    view = MarimoView(label="", total=None, clock=clock)

    clock.now = PATIENCE
    run.work("0", 4)
    view.show(run.snapshot)

    assert log == [{"spins": True, "title": "map", "remove_on_exit": True}, {"subtitle": "4 done"}]


def test_a_quick_run_has_a_line_only(log, capsys):
    run = FakeRun(2)
    view = MarimoView(label="count", total=2)

    run.work("0", 2)
    view.show(run.snapshot)
    view.close(run.finish)

    assert log == []
    assert capsys.readouterr().out == "count: 2 of 2 done, 100 ms on 2 workers\n"


@pytest.mark.parametrize(
    ("word", "background", "kind"),
    [("auto", False, MarimoView), ("auto", True, Silent), ("text", False, Text), ("none", False, Silent)],
)
def test_marimo_is_chosen_in_its_notebooks(log, word, background, kind):
    view = choose(word, Pressed().controls, label="count", total=12, background=background)

    assert type(view) is kind


def test_a_script_of_marimo_is_a_script(log, monkeypatch):
    monkeypatch.setattr(sys.modules["marimo"], "running_in_notebook", lambda: False)

    assert type(choose("auto", Pressed().controls, label="count", total=12)) is Text
