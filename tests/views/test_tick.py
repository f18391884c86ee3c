"""Contents and size of the messages to the card."""

import json

import pytest
from fake_gpus import fake_gpus
from fake_runs import FakeRun

from nbpar.core import events
from nbpar.host.devices.load import Gauge
from nbpar.host.machine import machine
from nbpar.testing import until
from nbpar.views import tick
from nbpar.views.seats import MOST
from nbpar.views.strips import Timeline


def _busy_run(workers, total=10_000_000):
    """A run in which everything that makes a tick large has happened."""
    run, timeline = FakeRun(total, workers=workers), Timeline()
    for turn in range(60):
        for worker in range(workers):
            call = run.next
            run.work(str(worker), 1000, 0.0, fail={call: ValueError("x" * 500)} if turn % 10 == 0 else None)
            run.print(call, "y" * 400 + "\n")
        run.now += 0.4
        timeline.take(run.snapshot())
    for worker in range(workers):
        run.send(str(worker), 1000)
    timeline.take(run.snapshot())
    return run.snapshot(), timeline


@pytest.mark.parametrize("workers", [1, 4, 16, 64, 65, 256, 600])
def test_an_update_is_never_larger_than_20_kb(workers):
    snapshot, timeline = _busy_run(workers)

    numbers = len(json.dumps(tick.tick(snapshot, timeline)))
    makers = (tick.names, tick.failures, tick.groups, tick.output)
    extras = [len(json.dumps(make(snapshot, timeline))) for make in makers]

    assert numbers + max(extras) <= 20_000


def test_a_tick_is_plain_data():
    snapshot, timeline = _busy_run(3)

    told = tick.tick(snapshot, timeline)

    assert json.loads(json.dumps(told)) == told
    assert told["state"] == "running"
    assert told["lanes"]["state"] == "bbb"
    assert told["alive"] == 3
    assert [kind for _, kind, _ in told["marks"]].count("fa") > 0


def test_memory_is_that_of_processes_and_threads_of_one_count_once():
    run = FakeRun(workers=2)
    run.join("thread 0", pid=77)
    run.join("thread 1", pid=77)
    for worker in ("0", "1", "thread 0", "thread 1"):
        run.work(worker)
    each = run.snapshot().lanes[0].memory

    told = _told(run)

    assert each > 0
    assert told["memory"] == 3 * each
    assert [bool(memory) for memory in told["lanes"]["memory"]] == [True, True, False, False]


def test_workers_that_are_gone_make_room_first():
    run = FakeRun(None, workers=300)
    for worker in range(50):
        run.lose(str(worker))

    told = _told(run)

    assert len(told["lanes"]["state"]) == MOST
    assert told["lanes"]["state"].count("i") == 250
    assert told["hidden"] == 0


def test_workers_that_there_is_no_room_for_are_counted():
    told = _told(FakeRun(None, workers=300))

    assert told["hidden"] == 300 - MOST


def test_a_replacement_has_the_lane_of_who_is_gone_and_all_lanes_keep_their_text():
    run, timeline = FakeRun(None, workers=4), Timeline()
    for number in range(4, 44):
        timeline.take(run.snapshot())
        run.work(str(number - 4))
        run.lose(str(number - 4))
        run.join(str(number))
    timeline.take(run.snapshot())

    told, names = tick.tick(run.snapshot(), timeline), tick.names(run.snapshot(), timeline)

    assert told["lanes"]["state"] == "iiii"
    assert [(name, before) for name, *_, before, _device in names] == [
        ("40", "36"), ("41", "37"), ("42", "38"), ("43", "39"),
    ]  # fmt: skip
    assert {kind for _, kind, _ in told["marks"]} == {"lo", "jo"}
    assert told["lost"] == 40


def test_what_a_lane_is_called_is_told_again_when_another_worker_has_it():
    run, timeline = FakeRun(None), Timeline()
    timeline.take(run.snapshot())
    before = tick.who(run.snapshot(), timeline)

    run.now += 1
    run.lose("0")
    run.join("2")
    timeline.take(run.snapshot())

    assert tick.who(run.snapshot(), timeline) != before


def test_of_many_workers_the_one_that_has_been_at_its_items_for_longest_is_named():
    run = FakeRun(None, workers=40)
    run.send("7", 3, first=20)
    run.now += 5
    run.send("9", 1, first=60)
    run.now += 2

    assert _told(run)["slow"] == [7, 20, 3, 7.0]
    assert _told(FakeRun(None, workers=16))["slow"] is None


def test_few_failures_are_marked_and_of_many_their_part_is_told():
    few, many = FakeRun(None, workers=1), FakeRun(None, workers=1)
    for _ in range(3):
        few.work("0", fail={few.next: ValueError()})
    timeline = Timeline()
    for _ in range(30):
        many.work("0", 2, fail={many.next: ValueError()})
        timeline.take(many.snapshot())

    marked, shaded = _told(few), tick.tick(many.snapshot(), timeline)

    assert (len(marked["marks"]), marked["bad"]) == (3, [])
    [(place, strip)] = shaded["bad"]
    assert (place, shaded["marks"]) == (0, [])
    assert set(strip[4:]) <= set("CIgCA")  # where items ended, half of them had failed
    assert len(strip) > 30


def test_low_memory_and_a_pause_are_told():
    run = FakeRun(None)
    run.tell(events.MemoryLow(run.now, True, 400_000_000))
    run.pause(True)
    run.now += 5

    told = _told(run)

    assert (told["state"], told["paused"], told["held"]) == ("paused", 5.0, True)


def _told(run):
    timeline = Timeline()
    timeline.take(run.snapshot())
    return tick.tick(run.snapshot(), timeline)


def test_failures_come_in_the_order_of_their_items_with_what_they_printed():
    run = FakeRun(12)
    run.work("0", 12, fail={7: ValueError("b"), 2: ValueError("a")})

    first, second = tick.failures(run.snapshot(), Timeline())

    assert (first["index"], second["index"]) == (2, 7)
    assert first["error"] == "ValueError: a"
    assert first["item"] == "'text 2'"
    assert first["output"] == "saw 2\n"


def test_the_latest_output_is_kept_when_there_is_too_much():
    run = FakeRun(None)
    for index in range(100):
        run.print(index, "z" * 300)

    rows = tick.output(run.snapshot(), Timeline())

    assert rows[-1][0] == 99
    assert 1 <= len(rows) <= 20


def test_pieces_of_a_line_are_joined():
    run = FakeRun(None)
    for index, text in [(1, "one"), (1, " 1\n"), (2, "two\n"), (1, "more\n")]:
        run.print(index, text)

    assert tick.output(run.snapshot(), Timeline()) == [
        [1, "stdout", "one 1\n"],
        [2, "stdout", "two\n"],
        [1, "stdout", "more\n"],
    ]


def test_failures_are_grouped_and_each_kind_has_an_example_however_late_it_comes():
    run = FakeRun(100)
    run.work("0", 100, fail={**{index: ValueError(index) for index in range(60)}, 77: KeyError("title")})

    groups, rows = tick.groups(run.snapshot(), Timeline()), tick.failures(run.snapshot(), Timeline())

    assert groups == [["ValueError", 0, "", 60], ["KeyError", 0, "", 1]]
    assert rows[-1]["index"] == 77
    assert [rows[-1][part] for part in ("type", "line", "stage")] == ["KeyError", 0, ""]


def test_lanes_have_their_devices_with_their_load_where_nvidia_smi_tells_it(tmp_path, monkeypatch):
    fake_gpus(tmp_path, monkeypatch)
    run, timeline, gauge = FakeRun(None, workers=0), Timeline(), Gauge()
    run.tell(events.WorkerJoined(run.now, "engine 0", "this", 1, machine(), "GPU 0"))
    run.tell(events.WorkerJoined(run.now, "engine 1", "other", 1, "another machine", "GPU 0"))
    run.tell(events.WorkerJoined(run.now, "engine 2", "this", 2, machine()))
    timeline.take(run.snapshot())

    assert [device for *_, device in tick.names(run.snapshot(), timeline)] == ["GPU 0", "GPU 0", ""]
    assert tick.devices(timeline, gauge) == ["GPU 0", "", ""]  # nothing waits for it
    until(lambda: tick.devices(timeline, gauge) == ["GPU 0: 3.1 of 151 GB, 37 %", "", ""])


def test_without_devices_nothing_asks_for_their_load():
    run, timeline = FakeRun(None), Timeline()
    timeline.take(run.snapshot())

    assert tick.devices(timeline, None) is None


def test_workers_are_in_the_order_of_their_numbers():
    run, timeline = FakeRun(None, workers=0), Timeline()
    for worker in ("engine 10", "engine 2", "b", "engine 1"):
        run.join(worker)
    timeline.take(run.snapshot())

    shown = tick.names(run.snapshot(), timeline)

    assert [name for name, *_ in shown] == ["b", "engine 1", "engine 2", "engine 10"]
