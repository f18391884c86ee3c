"""The bar in a terminal and in a file."""

import io

import pytest
from fake_runs import FakeRun

from nbpar.views.text import Text


class Terminal(io.StringIO):
    def isatty(self):
        return True


def _last_line(file):
    return file.getvalue().replace("\n", "\r").rstrip("\r").rsplit("\r", 1)[-1]


def test_items_are_counted_as_they_are_done():
    file, run = Terminal(), FakeRun(4, label="count")
    view = Text(label="count", total=4, file=file, delay=0, interval=0)

    for _ in range(3):
        run.work("0")
        view.show(run.snapshot)

    assert "| 3/4 [" in _last_line(file)
    assert "\rcount: " in file.getvalue()
    view.close(run.finish)


def test_the_final_state_is_true_even_when_it_was_never_shown():
    file, run = io.StringIO(), FakeRun(1000)
    view = Text(label="count", total=1000, file=file, delay=0, interval=1000)

    view.show(run.snapshot)
    run.work("0", 1000)
    view.close(run.finish)

    assert "| 1000/1000 [" in _last_line(file)


def test_a_short_run_prints_nothing():
    file, run = Terminal(), FakeRun(4)
    view = Text(label="count", total=4, file=file, delay=60)

    run.work("0", 4)
    view.show(run.snapshot)
    view.close(run.finish)

    assert file.getvalue() == ""


def test_a_file_gets_a_line_seldom():
    file, run = io.StringIO(), FakeRun(100)
    view = Text(label="count", total=100, file=file, delay=0)

    for _ in range(99):
        run.work("0")
        view.show(run.snapshot)

    assert file.getvalue().count("\r") <= 2
    view.close(run.finish)


def test_an_unknown_total_is_counted_up():
    file, run = Terminal(), FakeRun(None)
    view = Text(label="", total=None, file=file, delay=0, interval=0)

    run.work("0", 7)
    view.close(run.finish)

    assert "7 items [" in _last_line(file)


@pytest.mark.parametrize("state", ["failed", "stopped"])
def test_what_went_wrong_is_said_beside_the_bar(state):
    file, run = Terminal(), FakeRun(12)
    view = Text(label="count", total=12, file=file, delay=0, interval=0)

    run.work("0", 5, fail={1: ValueError()}, retried=1)
    run.lose("1")
    view.close(lambda: run.finish(state))

    assert _last_line(file).rstrip().endswith(f"1 failed, 1 retried, 1 worker lost, {state}]")


def test_closing_twice_is_fine():
    view = Text(label="count", total=1, file=io.StringIO(), delay=0)
    snapshot = FakeRun(1).finish()

    view.close(lambda: snapshot)
    view.close(lambda: snapshot)
