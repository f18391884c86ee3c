"""What the card is told, and how large it is."""

import json

import pytest
from fake_runs import FakeRun

from nbpar.views import tick
from nbpar.views.timeline import Timeline


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
    return run.snapshot(), timeline


@pytest.mark.parametrize("workers", [1, 4, 16, 64, 65, 256, 600])
def test_an_update_is_never_larger_than_20_kb(workers):
    snapshot, timeline = _busy_run(workers)

    numbers = len(json.dumps(tick.tick(snapshot, timeline)))
    extras = [len(json.dumps(make(snapshot))) for make in (tick.names, tick.failures, tick.output)]

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

    told = tick.tick(run.snapshot(), Timeline())

    assert each > 0
    assert told["memory"] == 3 * each
    assert [bool(memory) for memory in told["lanes"]["memory"]] == [True, True, False, False]


def test_workers_that_are_gone_make_room_first():
    run = FakeRun(None, workers=300)
    for worker in range(50):
        run.lose(str(worker))

    shown = tick.lanes_shown(run.snapshot().lanes)

    assert len(shown) == tick.LANES
    assert all(lane.state == "idle" for lane in shown[-250:])


def test_failures_come_in_the_order_of_their_items_with_what_they_printed():
    run = FakeRun(12)
    run.work("0", 12, fail={7: ValueError("b"), 2: ValueError("a")})

    first, second = tick.failures(run.snapshot())

    assert (first["index"], second["index"]) == (2, 7)
    assert first["error"] == "ValueError: a"
    assert first["item"] == "'text 2'"
    assert first["output"] == "saw 2\n"


def test_the_latest_output_is_kept_when_there_is_too_much():
    run = FakeRun(None)
    for index in range(100):
        run.print(index, "z" * 300)

    rows = tick.output(run.snapshot())

    assert rows[-1][0] == 99
    assert 1 <= len(rows) <= 20


def test_pieces_of_a_line_are_joined():
    run = FakeRun(None)
    for index, text in [(1, "one"), (1, " 1\n"), (2, "two\n"), (1, "more\n")]:
        run.print(index, text)

    assert tick.output(run.snapshot()) == [
        [1, "stdout", "one 1\n"],
        [2, "stdout", "two\n"],
        [1, "stdout", "more\n"],
    ]


def test_workers_are_in_the_order_of_their_numbers():
    run = FakeRun(None, workers=0)
    for worker in ("engine 10", "engine 2", "b", "engine 1"):
        run.join(worker)

    shown = tick.lanes_shown(run.snapshot().lanes)

    assert [lane.worker for lane in shown] == ["b", "engine 1", "engine 2", "engine 10"]
