"""Faults: an engine does not answer for a while; others begin its items, and it takes part again."""

from __future__ import annotations

import ctypes
import os
import pathlib
import signal
import time
from contextlib import suppress

import pytest

from nbpar.backends.engines import liveness
from nbpar.testing import until

pytestmark = pytest.mark.engines


@pytest.fixture(autouse=True)
def soon(path, monkeypatch):
    """Silence is noticed soon, by the process here or, through the controller, by the echo as elsewhere."""
    monkeypatch.setattr(liveness, "ASK_AFTER", 0.3)
    monkeypatch.setattr(liveness, "SILENT_AFTER", 1.5)
    if path == "controller":
        monkeypatch.setattr(liveness, "is_here", lambda _: False)


def that_stops(folder):
    """A function of which the first call stops its process, and lasts when that goes on."""

    def stop_once(item):
        pathlib.Path(folder, f"begun-{os.getpid()}-{item}").touch()
        if item == 0:
            with suppress(FileExistsError):
                pathlib.Path(folder, "stopped").touch(exist_ok=False)
                pathlib.Path(folder, "pid").write_text(str(os.getpid()))
                os.kill(os.getpid(), signal.SIGSTOP)
                for _ in range(60_000):
                    time.sleep(0.01)
        return os.getpid()

    return stop_once


def test_what_a_stopped_engine_runs_is_begun_elsewhere_and_it_takes_part_again(pool, tmp_path):
    run = pool.map_async(that_stops(tmp_path), range(3), chunksize=1)
    until(lambda: run.done or run.snapshot.silent_workers, 60)
    silent = [lane.worker for lane in run.snapshot.lanes if lane.state == "silent"]
    pids = run.get(60)
    stopped = int((tmp_path / "pid").read_text())
    assert stopped not in pids[:1]
    assert len(silent) == 1
    assert [facts["worker"] for facts in pool.workers if facts.get("silent")] == silent

    os.kill(stopped, signal.SIGCONT)

    until(lambda: stopped in pool.each(os.getpid), 60)
    assert pool.map(abs, range(-4, 0)) == [4, 3, 2, 1]


def test_the_answer_of_a_stopped_engine_counts_if_it_comes_first(pool, tmp_path):
    gate = tmp_path / "gate"

    def stop_or_wait(item):
        if item == 0 and not (tmp_path / "pid").exists():
            (tmp_path / "pid").write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGSTOP)
        elif item == 0:
            gate.touch()
            for _ in range(60_000):
                time.sleep(0.01)
        return item, os.getpid()

    run = pool.map_async(stop_or_wait, range(2), chunksize=1)
    until(gate.exists, 60)
    stopped = int((tmp_path / "pid").read_text())
    os.kill(stopped, signal.SIGCONT)

    results = run.get(60)

    assert results[0] == (0, stopped)
    assert [item for item, _ in results] == [0, 1]


def test_an_engine_that_holds_the_interpreter_is_not_silent(pool, tmp_path):
    def hold(item):
        (tmp_path / f"begun-{item}-{os.getpid()}").touch()
        if item == 0:
            ctypes.PyDLL(None).sleep(3)
        return item

    run = pool.map_async(hold, range(2), chunksize=1)
    states = set()
    until(lambda: run.done or states.update(lane.state for lane in run.snapshot.lanes), 60)

    assert run.get() == [0, 1]
    assert "silent" not in states
    assert len(list(tmp_path.glob("begun-0-*"))) == 1
