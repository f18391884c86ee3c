"""Outputs of a notebook cell, one by one."""

import logging

import pytest
from fake_runs import FakeRun, Pressed

from nbpar.views import card
from nbpar.views.notebook_view import PATIENCE, NotebookView

# ipywidgets 7.7, which Colab has, warns of itself
pytestmark = pytest.mark.filterwarnings("ignore:Deprecated in traitlets 4.1:DeprecationWarning")


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


class Cell:
    """Outputs as a front end keeps them."""

    def __init__(self):
        self.outputs, self.metadata, self.first = [], [], []

    def display(self, bundle, raw, metadata=None, display_id=None):
        place = len(self.outputs)
        self.outputs.append(bundle)
        self.first.append(bundle)
        self.metadata.append(metadata)
        cell = self

        class Handle:
            def update(self, bundle, raw, metadata=None):
                cell.outputs[place] = bundle
                cell.metadata[place] = metadata

        return Handle()


WIDGET = "application/vnd.jupyter.widget-view+json"


@pytest.fixture
def cell(monkeypatch):
    cell = Cell()
    monkeypatch.setattr("IPython.display.display", cell.display)
    return cell


@pytest.fixture
def clock():
    return Clock()


def _view(clock, **more):
    return NotebookView(Pressed().controls, label="count", total=12, clock=clock, **more)


def test_a_run_has_a_card_and_leaves_one_line(cell, clock):
    view, run = _view(clock), FakeRun(12)
    assert cell.outputs == []

    clock.now = PATIENCE
    view.show(run.snapshot)
    what, widget = cell.outputs
    assert what["text/plain"] == "count over 12 items"
    assert list(widget) == [WIDGET]

    run.work("0", 12)
    view.close(run.finish)
    assert cell.outputs[:2] == [{}, {}]
    assert cell.outputs[2]["text/plain"] == "count: 12 of 12 done"
    assert cell.metadata[2]["nbpar"]["seconds"] == pytest.approx(0.1)


def test_what_runs_is_an_output_of_its_own_whose_place_no_widget_takes(cell, clock):
    view = _view(clock, background=True)

    clock.now = PATIENCE
    view.show(FakeRun(12).snapshot)

    assert [WIDGET in output for output in cell.outputs] == [False, True]
    assert "count over 12 items" in cell.outputs[0]["text/html"]


def test_a_card_is_told_the_line_that_stays_before_its_place_is_taken(cell, clock, monkeypatch):
    told, finish = [], card.Card.finish

    def note(self, snapshot, line):
        told.append((line, len(cell.outputs[1])))
        finish(self, snapshot, line)

    monkeypatch.setattr(card.Card, "finish", note)
    view, run = _view(clock, needs_card=True, gain=lambda snapshot: 1.9), FakeRun(12)
    view.show(run.snapshot)

    run.work("0", 12)
    view.close(run.finish)

    assert told == [("✓ count: 12 of 12 done · 100 ms on 2 workers · 1.9x", 1)]


@pytest.mark.parametrize("available", [True, False])
def test_what_notebook_tests_compare_is_the_same_with_a_card_and_without(cell, clock, monkeypatch, available):
    monkeypatch.setattr(card, "available", lambda: available)
    view, run = _view(clock), FakeRun(12)

    clock.now = PATIENCE
    view.show(run.snapshot)
    view.close(run.finish)

    compared = [kind for first in cell.first for kind in first if kind != WIDGET]
    assert compared == ["text/plain", "text/html"]


def test_the_line_that_stays_says_what_the_run_gained(cell, clock):
    view, run = _view(clock, gain=lambda snapshot: 1.92), FakeRun(12)

    run.work("0", 12)
    view.close(run.finish)

    assert "✓</span> 12 items<" in cell.outputs[0]["text/html"]
    assert " · 100 ms on 2 workers · 1.9x</span>" in cell.outputs[0]["text/html"]
    assert cell.metadata[0]["nbpar"]["speed_up"] == 1.92


def test_a_quick_run_has_no_card(cell, clock):
    view, run = _view(clock), FakeRun(12)

    view.show(run.snapshot)

    assert cell.outputs == []


def test_a_card_that_is_asked_for_comes_at_once(cell, clock):
    view = _view(clock, needs_card=True)

    view.show(FakeRun(12).snapshot)

    assert WIDGET in cell.outputs[1]


def test_a_run_in_the_background_reports_in_its_own_place(cell, clock):
    view, run = _view(clock, background=True), FakeRun(12)

    run.work("0", 12)
    view.close(run.finish)

    assert [first["text/plain"] for first in cell.first] == ["count over 12 items"]
    assert [output["text/plain"] for output in cell.outputs] == ["count: 12 of 12 done"]


def test_without_anywidget_the_line_that_stays_is_the_same(cell, clock, monkeypatch):
    monkeypatch.setattr(card, "available", lambda: False)
    view, run = _view(clock), FakeRun(12)

    clock.now = 1.0
    view.show(run.snapshot)
    assert sorted(cell.outputs[0]) == ["text/html", "text/plain"]
    view.close(run.finish)

    assert [sorted(output) for output in cell.outputs] == [[], ["text/html", "text/plain"]]
    with pytest.raises(ValueError, match=r"needs anywidget; install nbpar\[notebook\]"):
        _view(clock, needs_card=True)


def test_widgets_that_do_not_work_do_not_cost_the_run(cell, clock, monkeypatch, caplog):
    monkeypatch.setattr(card, "Card", lambda *_, **__: 1 / 0)
    view, run = _view(clock), FakeRun(12)

    clock.now = 1.0
    with caplog.at_level(logging.WARNING, "nbpar"):
        view.show(run.snapshot)
        view.show(run.snapshot)
    view.close(run.finish)

    assert caplog.messages == ["the live card could not be made"]
    assert len(cell.outputs) == 2


def test_closing_twice_reports_once(cell, clock):
    view, run = _view(clock), FakeRun(12)
    snapshot = run.finish()

    view.close(lambda: snapshot)
    view.close(lambda: snapshot)

    assert len(cell.outputs) == 1
