"""Bars of items: noted, read by another thread, told seldom; and nothing else that tqdm does is changed."""

from __future__ import annotations

import gc
import io
import math
import sys
import threading
from types import SimpleNamespace

import pytest
from tqdm import tqdm
from tqdm.std import TMonitor

from nbpar.core.inner_bars import DEEPEST
from nbpar.testing import FakeClock
from nbpar.worker.output.bars import EVERY, MOST_ITEMS, InnerBars
from nbpar.worker.output.recorder import ItemId, OutputRecorder
from nbpar.worker.output.streams import caught, renew

ITEM = ItemId(1, 7, 3)


class Bar(SimpleNamespace):
    """Has the attributes of a bar."""

    def __init__(self, **more):
        known = {"n": 1, "total": 10, "desc": "step: ", "unit": "it", "postfix": None, "disable": False}
        super().__init__(**{**known, "initial": 0, "start_t": 0.0, **more})

    __hash__ = object.__hash__


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def bars(clock):
    return InnerBars(clock)


def told(bars):
    """What is told: by item, the name, number and total of each bar."""
    return {(call, index): [bar[:3] for bar in told] for call, index, told in bars.take()}


def test_only_what_has_changed_is_told_and_at_most_ten_times_a_second(bars, clock):
    bar = Bar()
    bars.note(bar, ITEM)
    assert told(bars) == {(7, 3): [("step", 1.0, 10.0)]}

    bar.n = 2
    assert told(bars) == {}
    clock.advance(EVERY)
    assert told(bars) == {(7, 3): [("step", 2.0, 10.0)]}
    clock.advance(EVERY)
    assert told(bars) == {}


def test_nested_bars_are_told_outermost_first_and_their_end_once(bars, clock):
    nested = [Bar(desc=str(depth)) for depth in range(DEEPEST + 1)]
    for bar in nested:
        bars.note(bar, ITEM)
    assert told(bars) == {(7, 3): [(str(depth), 1.0, 10.0) for depth in range(DEEPEST)]}

    nested[0].disable = True
    del nested[1]
    gc.collect()
    clock.advance(EVERY)
    assert told(bars) == {(7, 3): [("2", 1.0, 10.0), ("3", 1.0, 10.0)]}

    for bar in nested:
        bar.disable = True
    clock.advance(EVERY)
    assert told(bars) == {(7, 3): []}
    clock.advance(EVERY)
    assert told(bars) == {}


def test_a_bar_that_outlives_its_item_belongs_to_the_next_one(bars, clock):
    bar = Bar()
    bars.note(bar, ITEM)
    bars.take()

    bars.note(bar, ItemId(1, 8, 4))
    clock.advance(EVERY)

    assert told(bars) == {(7, 3): [], (8, 4): [("step", 1.0, 10.0)]}


def test_of_very_many_items_at_once_some_are_told(bars):
    kept = [Bar() for _ in range(3 * MOST_ITEMS)]
    for index, bar in enumerate(kept):
        bars.note(bar, ItemId(1, 7, index))

    assert list(told(bars)) == [(7, index) for index in range(MOST_ITEMS)]


def test_a_bar_is_told_before_its_clock_has_begun(bars):
    bar = Bar()
    del bar.start_t
    bars.note(bar, ITEM)

    assert told(bars) == {(7, 3): [("step", 1.0, 10.0)]}


@pytest.mark.parametrize("odd", [{"n": "?"}, {"total": object()}, {"start_t": None}])
def test_odd_bars_are_left_out(bars, odd):
    bars.note(Bar(**odd), ITEM)

    assert told(bars) == {}


def test_texts_are_short_and_can_be_sent(bars):
    bar = Bar(desc="a\nb" * 100, postfix="\ud800", total=math.inf, initial=math.inf)
    bars.note(bar, ITEM)

    [(_, _, [(name, _, _, _, note, rate)])] = bars.take()

    assert len(name) == 60
    assert "\n" not in name
    note.encode()
    assert rate == 0.0


# ---- tqdm itself


@pytest.fixture
def recorder(bars):
    """The recorder of this thread, in which an item runs."""
    recorder = OutputRecorder(lambda: 3, running=lambda: ITEM)
    recorder.bars = bars
    with caught(recorder, whole_process=False):
        yield recorder


def test_a_bar_of_an_item_is_noted_and_draws_nothing(recorder, bars, monkeypatch):
    renew()  # pytest has replaced the streams since the fixture
    monkeypatch.setattr(tqdm, "format_meter", None)
    with tqdm(total=5, desc="mine") as bar:
        bar.update(2)
        bar.refresh()
        assert told(bars) == {(7, 3): [("mine", 2.0, 5.0)]}

    assert recorder.take() == ()


def test_a_bar_for_a_file_is_written_there_too(recorder, bars):
    file = io.StringIO()

    with tqdm(total=5, desc="mine", file=file) as bar:
        bar.update(2)
        assert list(told(bars)) == [(7, 3)]

    assert "mine" in file.getvalue()


def test_bars_of_threads_outside_are_drawn_as_always(recorder, bars):
    file, drawn = io.StringIO(), tqdm.display

    def outside():
        with tqdm(total=5, desc="theirs", file=file) as bar:
            bar.update(2)

    thread = threading.Thread(target=outside, name="nbpar of the test")  # which no item has started
    thread.start()
    thread.join()

    assert told(bars) == {}
    assert "theirs:  40%" in file.getvalue()
    assert drawn is not drawn.__wrapped__


def test_tqdm_is_itself_again_when_nothing_is_recorded():
    before = tqdm.display
    with caught(OutputRecorder(lambda: 3), whole_process=False):
        assert tqdm.display.__wrapped__ is before

    assert tqdm.display is before


def test_a_display_that_somebody_else_has_replaced_meanwhile_stays(monkeypatch):
    def display(*_):
        pass

    with caught(OutputRecorder(lambda: 3), whole_process=False):
        monkeypatch.setattr(tqdm, "display", display)

    assert tqdm.display is display


def test_classes_of_tqdm_that_are_loaded_later_are_taken_over_too(recorder, monkeypatch):
    class Later(tqdm):
        def display(self, *_, **__):
            raise AssertionError("it draws")

    Later.__module__ = "tqdm.rich"
    monkeypatch.setitem(sys.modules, "tqdm.rich", SimpleNamespace())
    renew()

    Later(total=3).close()


def test_a_bar_that_begins_as_soon_as_tqdm_is_imported_is_noted(recorder, bars, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "tqdm"]:
        monkeypatch.delitem(sys.modules, name)

    from tqdm.std import tqdm as another

    assert another is not tqdm
    with another(total=3, desc="first"):
        assert told(bars) == {(7, 3): [("first", 0.0, 3.0)]}


def test_tqdms_own_thread_draws_no_bar_of_an_item(recorder, bars):
    renew()
    bar = tqdm(total=5)
    recorder.running = lambda: None
    refreshed = []

    class Monitor(TMonitor):
        def run(self):
            refreshed.append(bar.display())

    Monitor.__name__ = "TMonitor"
    monitor = Monitor(tqdm, 10.0)
    monitor.join(60)
    monitor.was_killed.set()

    assert refreshed == [True]
    assert recorder.take() == ()
    bar.close()
