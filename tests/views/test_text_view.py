"""The bar in a terminal, the lines in a log, and the summary line of both."""

import io
import re
import subprocess
import sys

import pytest
from fake_runs import FakeRun

from nbpar.views.text import SELDOM, LogLines, Text, log_interval


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


@pytest.mark.parametrize("make", [Terminal, io.StringIO])
def test_one_line_stays_that_says_how_it_ended(make):
    file, run = make(), FakeRun(1000)
    view = Text(label="count", total=1000, file=file, delay=0, interval=1000, gain=lambda _: 1.93)

    view.show(run.snapshot)
    run.work("0", 1000, seconds=5.2)
    view.close(run.finish)

    assert _last_line(file) == "count: 1000 of 1000 done, 5.2 s on 2 workers, 1.9x".replace("1000", "1,000")
    assert file.getvalue().endswith("\n")


def test_a_short_run_prints_nothing():
    file, run = Terminal(), FakeRun(4)
    view = Text(label="count", total=4, file=file, delay=60)

    run.work("0", 4)
    view.show(run.snapshot)
    view.close(run.finish)

    assert file.getvalue() == ""


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_a_log_gets_a_line_now_and_then():
    file, run, clock = io.StringIO(), FakeRun(100, label="count"), Clock()
    log = LogLines("count", file, interval=30, clock=clock)

    for _ in range(80):
        clock.now += 1
        run.work("0", seconds=1.0)
        log.show(run.snapshot)

    assert file.getvalue().splitlines() == [
        "count: 30 of 100 done, 30 s, 1 items/s, 70 s left",
        "count: 60 of 100 done, 60 s, 1 items/s, 40 s left",
    ]


def test_a_log_says_what_goes_wrong():
    file, run, clock = io.StringIO(), FakeRun(None), Clock()
    log = LogLines("", file, interval=30, clock=clock)

    run.work("0", 5, fail={1: ValueError()}, retried=1)
    clock.now = 30.0
    log.show(run.snapshot)

    assert re.fullmatch(r"map: 4 done, 100 ms, [\d.]+ items/s, 1 failed, 1 retried\n", file.getvalue())


def test_a_log_in_which_nothing_was_written_gets_no_end():
    file, run, clock = io.StringIO(), FakeRun(4), Clock()
    log = LogLines("count", file, interval=30, clock=clock)

    log.end(run.snapshot(), None)
    assert file.getvalue() == ""
    clock.now = 30.0
    log.show(run.snapshot)
    run.work("0", 4)
    log.end(run.finish(), 1.5)

    assert file.getvalue().splitlines()[1:] == ["count: 4 of 4 done, 100 ms on 2 workers, 1.5x"]


@pytest.mark.parametrize(
    ("given", "seconds"), [("5", 5.0), ("0.2", 0.2), ("", SELDOM), ("often", SELDOM), ("-1", SELDOM)]
)
def test_the_interval_of_a_log_can_be_set(monkeypatch, given, seconds):
    monkeypatch.setenv("NBPAR_LOG_INTERVAL", given)

    assert log_interval() == seconds


def test_letters_that_a_log_cannot_hold_do_not_cost_the_line():
    file, run = io.TextIOWrapper(io.BytesIO(), encoding="ascii"), FakeRun(4)
    view = Text(label="für x", total=4, file=file, delay=0)

    view.close(run.finish)

    assert file.buffer.getvalue().startswith(b"f?r x: ")


PROGRAM = """
import time, nbpar
with nbpar.Pool(2, backend="threads") as pool:
    pool.map(time.sleep, [0.15] * 12)
    pool.map(abs, range(3))
"""


def test_a_script_whose_errors_go_to_a_file_leaves_lines_there():
    run = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(run, env={"NBPAR_LOG_INTERVAL": "0.3"}, check=True, capture_output=True, text=True)

    *before, last = done.stderr.splitlines()
    assert before
    assert all(re.match(r"sleep: \d+ of 12 done, ", line) for line in before)
    assert re.fullmatch(r"sleep: 12 of 12 done, [\d.]+ m?s on 2 workers", last)


def test_an_unknown_total_is_counted_up():
    file, run = Terminal(), FakeRun(None)
    view = Text(label="", total=None, file=file, delay=0, interval=0)

    run.work("0", 7)
    view.show(run.snapshot)
    assert "7 items [" in _last_line(file)
    view.close(run.finish)

    assert _last_line(file) == "map: 7 done, 100 ms on 2 workers"


@pytest.mark.parametrize("state", ["failed", "stopped"])
def test_what_went_wrong_is_said_beside_the_bar(state):
    file, run = Terminal(), FakeRun(12)
    view = Text(label="count", total=12, file=file, delay=0, interval=0)

    run.work("0", 5, fail={1: ValueError()}, retried=1)
    run.lose("1")
    run.finish(state)
    view.show(run.snapshot)

    assert _last_line(file).rstrip().endswith(f"1 failed, 1 retried, 1 worker lost, {state}]")
    view.close(run.snapshot)


def test_closing_twice_is_fine():
    view = Text(label="count", total=1, file=io.StringIO(), delay=0)
    snapshot = FakeRun(1).finish()

    view.close(lambda: snapshot)
    view.close(lambda: snapshot)
