"""An item whose worker ran out of memory is tried again with nothing else beside it, and then named."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

import nbpar
from nbpar.dispatch import memory
from nbpar.errors import WorkerDied
from nbpar.host.exit_status import KILLED, OUT_OF_MEMORY, OVER_LIMIT
from nbpar.testing import Gate, until

KERNEL = f"{KILLED} ({OUT_OF_MEMORY}; it held 900 MB at most)"


def sent(machine, worker):
    return machine.backend.items(worker)


def begin(machine):
    run = machine.begin(range(8))
    machine.come("worker 0", "worker 1")
    return run


@pytest.mark.parametrize("reason", [KERNEL, f"its job is over: {OVER_LIMIT}"])
def test_nothing_runs_beside_an_item_that_is_tried_again(machine, reason):
    run = begin(machine)
    machine.backend.lose("worker 0", reason)
    machine.come("worker 2")
    assert sent(machine, "worker 2") == []

    machine.backend.answer("worker 1")
    machine.step()

    assert sorted(sent(machine, "worker 1") + sent(machine, "worker 2")) == [0]
    while not run.ends:
        machine.backend.answer_all()
        machine.step()
    assert sorted(run.results) == list(range(8))


def test_an_item_that_runs_out_of_it_alone_is_named_with_what_it_used(machine):
    run = begin(machine)
    machine.backend.lose("worker 0", KERNEL)
    machine.come("worker 2")
    machine.backend.answer("worker 1")
    machine.step()
    [worker] = [worker for worker in machine.backend.workers if sent(machine, worker)]
    machine.backend.lose(worker, KERNEL)
    machine.step()

    [error] = run.ends
    assert isinstance(error, WorkerDied)
    assert error.index == 0
    assert f"while nothing else of its pool ran on that host ({worker}: {KERNEL})" in str(error)


@pytest.mark.parametrize("likely", ["little is free", "it had most of it", "neither"])
def test_where_nobody_tells_what_is_known_of_the_memory_decides(machine, monkeypatch, likely):
    begin(machine)
    if likely == "little is free":
        machine.free = 50
        machine.look()
    elif likely == "it had most of it":
        machine.look()
        monkeypatch.setattr(memory, "whole_memory", lambda: 1000)
    machine.backend.lose("worker 0", KILLED)
    machine.free = 1000
    machine.come("worker 2")
    machine.look()

    assert sent(machine, "worker 2") == ([0] if likely == "neither" else [])


# ---- in processes, which are killed


def greedy(n, folder, gate, *, always):
    """Item 0 dies as if of too little memory while another item runs; return when each began and ended."""
    began = time.monotonic()
    if n == 0:
        first = Path(folder, "first")
        if always or not first.exists():
            if not first.exists():
                first.touch()
                gate.until_waiting(1)
            os.kill(os.getpid(), signal.SIGKILL)
    elif n == 1:
        gate.wait()
    return n, began, time.monotonic()


@pytest.fixture
def _killed_for_memory(monkeypatch):
    """Take every SIGKILL for that of the kernel's out-of-memory killer."""
    monkeypatch.setattr(memory, "lacked_memory", lambda reason: reason.startswith(KILLED))


@pytest.mark.engines
@pytest.mark.usefixtures("_killed_for_memory")
@pytest.mark.parametrize("always", [False, True])
def test_an_engine_that_is_killed_for_memory(tmp_path, always):
    gate, folder = Gate(), str(tmp_path)
    with nbpar.Pool(2, progress="none") as pool:
        run = pool.map_async(
            lambda n: greedy(n, folder, gate, always=always), range(6), chunksize=1, errors="collect"
        )
        until(lambda: run.snapshot.lost_workers)
        until(lambda: sum(lane.state != "lost" for lane in run.snapshot.lanes) == 2)
        gate.open()
        first, *others = run.get()

    if always:
        assert isinstance(first.exception, WorkerDied)
        assert "while nothing else of its pool ran on that host" in str(first.exception)
    else:
        _, began, ended = first
        assert not [n for n, since, over in others if since < ended and began < over]
    assert [n for n, _, _ in others] == [1, 2, 3, 4, 5]
