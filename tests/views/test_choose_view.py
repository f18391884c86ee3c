"""Choosing the view of a run."""

import timeit
from types import SimpleNamespace

import pytest
from fake_runs import Pressed

from nbpar.views.base import Silent
from nbpar.views.choose import choose
from nbpar.views.notebook_view import NotebookView
from nbpar.views.text import Text


def _choose(word):
    return choose(word, Pressed().controls, label="count", total=12)


@pytest.fixture
def kernel(monkeypatch):
    """A shell as kernels have it."""
    shell = SimpleNamespace(kernel=SimpleNamespace())
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)
    return shell.kernel


def test_outside_of_notebooks_it_is_a_bar():
    assert isinstance(_choose("auto"), Text)
    assert isinstance(_choose("text"), Text)


def test_in_a_kernel_it_is_the_notebook_s_view_unless_text_is_asked_for(kernel):
    assert isinstance(_choose("auto"), NotebookView)
    assert isinstance(_choose("text"), Text)


def test_none_is_silent_everywhere(kernel):
    assert isinstance(_choose("none"), Silent)


def test_on_an_engine_nothing_is_shown(kernel, monkeypatch):
    engine = type("Engine", (), {"__module__": "ipyparallel.engine.kernel"})
    monkeypatch.setattr("IPython.get_ipython", lambda: SimpleNamespace(kernel=engine()))

    assert isinstance(_choose("auto"), Silent)
    assert isinstance(_choose("widget"), Silent)


def test_a_widget_outside_of_a_kernel_is_an_error_that_says_what_to_do():
    with pytest.raises(ValueError, match="needs a Jupyter kernel; use progress='auto' or progress='text'"):
        _choose("widget")


def test_what_timeit_repeats_shows_nothing_unless_that_is_asked_for(kernel):
    views = []

    timeit.timeit(lambda: views.extend([_choose("auto"), _choose("text")]), number=2)

    assert [type(view) for view in views] == [Silent, Text] * 2
