"""The widget's traits, messages and update rate, without a browser."""

import gc
import json
import threading
from dataclasses import replace

import pytest
from fake_runs import FakeRun, Pressed

from nbpar.views.card import KEPT, Card

# ipywidgets 7.7, which Colab has, warns of itself
pytestmark = pytest.mark.filterwarnings("ignore:Deprecated in traitlets 4.1:DeprecationWarning")


class Clock:
    """Time that passes when the test says so, and a little with each look."""

    def __init__(self, look=0.0):
        self.now, self.look = 0.0, look

    def __call__(self):
        self.now += self.look
        return self.now


def _wait_until_resized():
    for thread in threading.enumerate():
        if thread.name == "nbpar resize":
            thread.join(60)


@pytest.fixture
def pressed():
    return Pressed()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def card(pressed, clock):
    card = Card(pressed.controls, label="count", clock=clock, spent=Clock())  # updates that cost nothing
    card.sent = []
    card.widget.observe(lambda change: card.sent.append(change.new), "tick")
    return card


def test_updates_are_at_most_ten_a_second(card, clock):
    run = FakeRun(1000)

    for _ in range(1000):
        run.work("0", seconds=0.001)
        clock.now += 0.001
        card.show(run.snapshot)

    assert 9 <= len(card.sent) <= 10


def test_the_final_state_is_always_told(card):
    run = FakeRun(1000)
    card.show(run.snapshot)

    run.work("0", 1000)
    card.show(run.snapshot)
    card.finish(run.finish())

    assert card.sent[-1]["done"] == 1000
    assert card.sent[-1]["state"] == "done"


def test_updates_that_take_long_become_rare(pressed):
    clock = Clock(look=0.005)
    card = Card(pressed.controls, label="count", clock=clock, spent=Clock(look=0.005))
    sent = []
    card.widget.observe(sent.append, "tick")

    while clock.now < 10:
        card.show(FakeRun(12).snapshot)

    assert len(sent) <= 21  # one each 0.5 s, because one takes 5 ms


def test_the_run_is_looked_at_only_for_an_update_and_that_counts_as_its_cost(pressed):
    clock, spent, looks = Clock(), Clock(), []
    card = Card(pressed.controls, label="count", clock=clock, spent=spent)

    def look():
        spent.now += 0.005
        looks.append(clock.now)
        return FakeRun(12).snapshot()

    for _ in range(1000):
        clock.now += 0.01
        card.show(look)

    assert 10 <= len(looks) <= 16  # one each 0.67 s, because one takes 5 ms


@pytest.mark.parametrize(
    ("message", "log"),
    [
        ({"event": "stop"}, ["stop"]),
        ({"event": "pause"}, ["pause"]),
        ({"event": "resume"}, ["resume"]),
        ({"event": "resize", "by": 1}, [1]),
        ({"event": "resize", "by": -1}, [-1]),
        ({"event": "resize", "by": 10**9}, []),
        ({"event": "resize"}, []),
        ({"event": "skip", "item": 17}, ["skip 17"]),
        ({"event": "skip", "item": 99}, []),
        ({"event": "skip", "item": "17"}, []),
        ({"event": "skip"}, []),
        ({"event": "explode"}, []),
        ({}, []),
        ("stop", []),
        (None, []),
    ],
)
def test_buttons_do_what_they_say_and_nothing_else_does(card, pressed, message, log):
    card.hear(message)
    _wait_until_resized()

    assert pressed.log == log


def test_a_press_that_arrives_on_two_ways_counts_once(card, pressed):
    for _ in range(2):
        card.hear({"event": "resize", "by": 1, "press": "a"})
    card.hear({"event": "resize", "by": 1, "press": "b"})
    _wait_until_resized()

    assert pressed.log == [1, 1]


class Source:
    """Hears presses before the kernel delivers them."""

    hears = True

    def listen(self, comm, hear):
        self.hear = hear

    def forget(self, comm):
        pass

    def poll(self):
        pass


def test_the_widget_is_there_until_the_kernel_has_delivered_what_was_heard_early(pressed):
    source, stop = Source(), {"event": "stop", "press": "a"}
    card = Card(pressed.controls, label="count", source=source)
    closed = []
    card.widget.close = lambda: closed.append(True)

    source.hear(stop)
    card.finish(FakeRun().finish("stopped"))
    card.close()
    card.let_go()
    assert pressed.log == ["stop"]
    assert not closed  # the kernel would print "No such comm"

    card.widget._handle_custom_msg(stop, [])
    assert pressed.log == ["stop"]
    assert closed


def test_the_latest_widgets_are_there_for_a_page_that_is_reloaded_and_older_ones_are_closed(pressed):
    closed = []
    for number in range(KEPT + 3):
        card = Card(pressed.controls, label=str(number))
        card.widget.close = lambda number=number: closed.append(number)
        card.finish(FakeRun().finish(), f"line {number}")
        card.close()

    assert closed[-3:] == [0, 1, 2]
    assert card.widget.line == f"line {KEPT + 2}"


def test_a_card_that_is_over_holds_nothing_of_its_run(pressed):
    card = Card(pressed.controls, label="count")
    card.finish(FakeRun().finish())
    card.close()

    card.hear({"event": "stop", "press": "late"})

    assert pressed.log == []
    assert pressed.controls not in gc.get_referents(vars(card))


def test_a_pool_that_cannot_be_resized_says_so_and_ignores_the_buttons(clock):
    pressed = Pressed(resize=False)
    card = Card(pressed.controls, label="count", clock=clock, spent=Clock())  # updates that cost nothing

    card.hear({"event": "resize", "by": 1})

    assert pressed.log == []
    assert card.widget.settings["resizable"] is False


def test_failures_and_output_are_told_only_when_they_change(card, clock):
    run, told = FakeRun(1000), []
    card.widget.observe(lambda change: told.append(change.name), ["failures", "output"])

    for turn in range(20):
        run.work("0", fail={5: ValueError()} if turn == 5 else None)
        clock.now += 1
        card.show(run.snapshot)

    assert told == ["failures"]


def test_what_changes_all_the_time_keeps_nothing_else_from_being_told(card, clock):
    run, told = FakeRun(1000), []
    card.widget.observe(lambda change: told.append(change.name), ["workers", "groups", "failures", "output"])

    for _ in range(8):
        run.work("0", fail={run.next: ValueError()})
        run.print(run.next, "x\n")
        clock.now += 1
        card.show(run.snapshot)

    assert set(told[:4]) == {"workers", "groups", "failures", "output"}


def test_everything_is_told_at_the_end(card):
    run = FakeRun(12)
    run.work("0", 12, fail={5: ValueError()})
    run.print(3, "three\n")

    card.finish(run.finish())

    assert card.widget.failures[0]["index"] == 5
    assert card.widget.output == [[3, "stdout", "three\n"]]
    assert [name for name, *_ in card.widget.workers] == ["0", "1"]


def test_what_is_told_is_json(card):
    run = FakeRun(12)
    run.work("0", 12, fail={5: ValueError(object())})
    card.finish(run.finish())

    state = card.widget.get_state(["tick", "failures", "workers", "settings"])

    assert json.loads(json.dumps(state)) == state


def test_workers_that_take_long_to_come_keep_nothing_waiting_and_are_announced(clock):
    began, may_come = threading.Event(), threading.Event()

    def resize(by):
        began.set()
        may_come.wait(60)
        raise RuntimeError("no room")

    card = Card(replace(Pressed().controls, resize=resize), label="count", clock=clock)
    card.hear({"event": "resize", "by": 1})
    began.wait(60)
    card.show(FakeRun(12).snapshot)
    announced = card.widget.tick["notice"]

    may_come.set()
    _wait_until_resized()
    card.finish(FakeRun(12).finish())

    assert announced == "adding a worker …"
    assert card.widget.tick["notice"] == "adding a worker failed: RuntimeError: no room"
