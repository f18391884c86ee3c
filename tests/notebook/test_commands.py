"""Collaboration: `%nbpar` in a real shell, with lists as pools."""

from __future__ import annotations

import os

import pytest
from fake_gpus import fake_gpus

from nbpar.host.machine import this_process
from nbpar.notebook import commands
from nbpar.notebook.commands import Status, Usage, status, status_of, usage_of


def test_without_workers_the_table_says_how_to_start_some(run):
    shown = run("%nbpar")

    assert "`%nbpar start 4`" in repr(shown)
    assert "`%nbpar start 4`" in shown._repr_html_()


def test_start_shows_the_workers_and_stop_ends_them(run, pools):
    assert repr(run("%nbpar start 3")) == (
        "3 workers\n"
        "worker    host       pid  CPU  memory  runs\n"
        "engine 0  elsewhere  1\n"
        "engine 1  elsewhere  1\n"
        "engine 2  elsewhere  1"
    )

    run("%nbpar stop")
    assert pools.pools == []


def test_start_without_a_number_leaves_it_to_the_pool(run, pools):
    run("%nbpar start")

    assert pools.pools[-1].count is None


def test_the_number_may_be_a_variable(run, pools):
    run("n = 5")
    run("%nbpar start $n")

    assert pools.pools[-1].count == 5


def test_restart_and_resize_reach_pools_that_offer_them(run, pools, monkeypatch):
    calls = []
    run("%nbpar start 2")
    kind = type(pools.pools[-1])
    monkeypatch.setattr(kind, "restart", lambda self: calls.append("restart"), raising=False)
    monkeypatch.setattr(kind, "resize", lambda self, n: calls.append(n), raising=False)
    run("%nbpar restart")
    run("%nbpar resize 12")

    assert calls == ["restart", 12]


class Shrinking:
    """A pool whose workers leave one look after the other, down to those that are held."""

    def __init__(self, count, held):
        self.names, self.held, self.wanted = [f"engine {n}" for n in range(count)], held, count

    @property
    def workers(self):
        here = [{"worker": name, "host": "elsewhere", "pid": 1} for name in self.names]
        if len(self.names) > max(self.wanted, self.held):
            self.names.pop()
        return here

    def resize(self, count):
        self.wanted = count


@pytest.mark.parametrize(
    ("held", "sentence"),
    [
        (0, "2 workers now, 4 before"),
        (3, "2 workers now, 4 before; 1 worker more will leave after the item that runs there"),
    ],
)
def test_resize_says_in_a_sentence_what_it_did_and_shows_those_that_stay(
    run, pools, monkeypatch, held, sentence
):
    monkeypatch.setattr(commands, "LEAVING", 0.2)
    monkeypatch.setattr(pools, "default_pool", lambda: pool)
    pool = Shrinking(4, held)

    shown = repr(run("%nbpar resize 2")).splitlines()

    assert shown[0] == sentence
    assert [line.split("  ")[0] for line in shown[2:]] == ["engine 0", "engine 1"]


def test_resize_to_what_there_is_says_so(run, pools, monkeypatch):
    monkeypatch.setattr(pools, "default_pool", lambda: Shrinking(2, 0))

    assert repr(run("%nbpar resize 2")).startswith("2 workers, as before\n")


def test_a_worker_whose_process_is_gone_is_not_shown():
    workers = [{"worker": f"engine {pid}", **this_process(), "pid": pid} for pid in (1, 2)]
    pool = type("TwoWorkers", (), {"workers": workers})()

    shown = status([pool], measure=lambda _: {2: Usage(cpu=0.0, memory=1_000_000)})

    assert [row[0] for row in shown.rows] == ["engine 2"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("stat", "unknown command `%nbpar stat`; did you mean `%nbpar start`? (the commands are `%nbpar`, "),
        ("dance", "unknown command `%nbpar dance` (the commands are"),
        (
            "start many",
            "one number of workers, from 1, or --gpus, --idle, --ssh, --python, --install, was 'many'",
        ),
        ("start 0", "from 1, or --gpus, --idle, --ssh, --python, --install, was '0'"),
        ("start 1 2", "was '2'"),
        ("stop 3", "`%nbpar stop` takes no arguments, was given '3'"),
        ("resize", "was ''; write `%nbpar resize N`"),
        ("resize 3", "this pool offers no resize; write `%nbpar stop`, then `%nbpar start N`"),
    ],
)
def test_a_wrong_command_is_told_in_one_line_that_helps(fail, line, message):
    error, shown = fail(f"%nbpar {line}")

    assert message in str(error)
    assert shown.startswith("UsageError: ")


def test_cpu_and_memory_are_shown_for_this_machine():
    busy = {"worker": "engine 0", **this_process(), "pid": 42, "runs": "naps, item 3"}
    workers = [busy, {"worker": "engine 1"}]
    pool = type("TwoWorkers", (), {"workers": workers})()

    shown = status([pool], measure=lambda pids: {pid: Usage(cpu=37.4, memory=120_000_000) for pid in pids})

    first = ("engine 0", busy["host"], "42", "37 %", "120 MB", "naps, item 3")
    assert shown.rows == (first, ("engine 1", "", "", "", "", ""))


def test_devices_are_shown_with_their_memory_and_load(tmp_path, monkeypatch):
    fake_gpus(tmp_path, monkeypatch)
    here = {"worker": "engine 0", **this_process(), "pid": 42, "device": "GPU 0"}
    there = {"worker": "engine 1", "host": "gpu01", "device": "GPU-22222222-bbbb-4a0f-8000-000000000002"}

    shown = status_of([here, there], measure=lambda pids: {pid: Usage(0.0, 1) for pid in pids})

    assert shown.columns == ("worker", "host", "pid", "CPU", "memory", "device", "runs")
    assert [row[5] for row in shown.rows] == ["GPU 0: 3.1 of 151 GB, 37 %", "GPU-22222222"]
    assert "GPU 0: 3.1 of 151 GB, 37 %" in repr(shown)
    assert '<th scope="col" style="text-align:left">device</th>' in shown._repr_html_()


def test_start_on_devices_gives_them_to_the_pool(run, fail, pools, monkeypatch):
    asked = []

    def start(workers=None, backend="engines", gpus=None):
        if gpus == 9:
            raise ValueError("gpus=9, but this process sees 2 devices")
        asked.append((workers, gpus))

    monkeypatch.setattr(pools, "default_pool", start)
    run("%nbpar start --gpus auto")
    run("%nbpar start 4 --gpus 0,1")

    assert asked == [(None, "auto"), (4, ("0", "1"))]
    assert fail("%nbpar start --gpus 9")[1].startswith("UsageError: gpus=9, but this process sees 2 devices")


def test_processes_that_are_gone_are_left_out():
    found = usage_of([os.getpid(), 2**22 + 1], seconds=0)

    assert list(found) == [os.getpid()]
    assert found[os.getpid()].memory > 1_000_000


@pytest.mark.parametrize(
    ("facts", "said"),
    [({}, "does not answer"), ({"runs": "resize, item 7"}, "does not answer; resize, item 7")],
)
def test_a_worker_that_does_not_answer_is_marked(facts, said):
    [row] = status_of([{"worker": "engine 0", "host": "gpu01", "pid": 7, "silent": True, **facts}]).rows

    assert row[-1] == said


def test_html_is_escaped():
    html = Status((("0", "<host>", "1", "", "", ""),))._repr_html_()

    assert '<td style="text-align:left">&lt;host&gt;</td>' in html
    assert '<th scope="col" style="text-align:left">host</th>' in html


def test_numbers_end_below_one_another():
    html = Status((("0", "host", "1234", "98 %", "57 MB", ""),))._repr_html_()

    assert '<td style="text-align:right">1234</td>' in html


def test_the_table_says_that_engines_have_ended_for_lack_of_work(run, pools):
    ended = "engines ended after 15 minutes without work; the next map starts them"
    pools.said = [ended]

    assert repr(run("%nbpar")) == ended

    run("%nbpar start 2")
    assert repr(run("%nbpar")).startswith(f"2 workers; {ended}\n")
