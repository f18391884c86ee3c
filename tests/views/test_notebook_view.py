"""What a notebook's cell gets, output by output."""

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
        self.outputs, self.metadata = [], []

    def display(self, bundle, raw, metadata=None, display_id=None):
        place = len(self.outputs)
        self.outputs.append(bundle)
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


def test_a_run_has_a_header_then_a_card_then_only_header_and_report(cell, clock):
    view, run = _view(clock), FakeRun(12)
    header = dict(cell.outputs[0])

    clock.now = PATIENCE
    view.show(run.snapshot)
    assert WIDGET in cell.outputs[0]
    assert header.items() <= cell.outputs[0].items()

    run.work("0", 12)
    view.close(run.finish)
    assert cell.outputs[0] == header
    assert cell.outputs[1]["text/plain"] == "12 of 12 done"
    assert cell.metadata[1]["nbpar"]["seconds"] == pytest.approx(0.1)


def test_a_quick_run_has_no_card(cell, clock):
    view, run = _view(clock), FakeRun(12)

    view.show(run.snapshot)

    assert WIDGET not in cell.outputs[0]


def test_a_card_that_is_asked_for_comes_at_once(cell, clock):
    view = _view(clock, needs_card=True)

    view.show(FakeRun(12).snapshot)

    assert WIDGET in cell.outputs[0]


def test_a_run_in_the_background_reports_in_its_own_place(cell, clock):
    view, run = _view(clock, background=True), FakeRun(12)

    run.work("0", 12)
    view.close(run.finish)

    assert [output["text/plain"] for output in cell.outputs] == ["count over 12 items\n12 of 12 done"]


def test_without_anywidget_header_and_report_are_the_same(cell, clock, monkeypatch):
    monkeypatch.setattr(card, "available", lambda: False)
    view, run = _view(clock), FakeRun(12)

    clock.now = 1.0
    view.show(run.snapshot)
    view.close(run.finish)

    assert [sorted(output) for output in cell.outputs] == [["text/html", "text/plain"]] * 2
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

    assert len(cell.outputs) == 2
