"""Collaboration: `%nbpar` in a real shell, on pools that are lists."""

from __future__ import annotations

import os
import platform

import pytest

from nbpar.notebook.status import Status, Usage, status, usage_of


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


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("stat", "unknown command `%nbpar stat`; did you mean `%nbpar start`? (the commands are `%nbpar`, "),
        ("dance", "unknown command `%nbpar dance` (the commands are"),
        ("start many", "expected one number of workers, from 1, was 'many'; write `%nbpar start [N]`"),
        ("start 0", "expected one number of workers, from 1, was '0'"),
        ("start 1 2", "was '1 2'"),
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
    here = platform.node()
    busy = {"worker": "engine 0", "host": here, "pid": 42, "runs": "naps, item 3"}
    workers = [busy, {"worker": "engine 1"}]
    pool = type("TwoWorkers", (), {"workers": workers})()

    shown = status([pool], measure=lambda pids: {pid: Usage(cpu=37.4, memory=120_000_000) for pid in pids})

    first = ("engine 0", here, "42", "37 %", "120 MB", "naps, item 3")
    assert shown.rows == (first, ("engine 1", "", "", "", "", ""))


def test_processes_that_are_gone_are_left_out():
    found = usage_of([os.getpid(), 2**22 + 1], seconds=0)

    assert list(found) == [os.getpid()]
    assert found[os.getpid()].memory > 1_000_000


def test_html_is_escaped():
    html = Status((("0", "<host>", "1", "", ""),))._repr_html_()

    assert "<td>&lt;host&gt;</td>" in html
    assert '<th scope="col">host</th>' in html
