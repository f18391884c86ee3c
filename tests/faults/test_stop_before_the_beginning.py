"""Ctrl-C while a call's workers start, or while it is prepared: it is the last run, without results."""

from __future__ import annotations

import os
import signal
import sys
import threading

import pytest
from strike_places import leaves_a_block

import nbpar
from nbpar.pool import pool as pools
from nbpar.testing import until

CALLS = {
    "map": lambda pool: pool.map(abs, [-1, 2], progress="none"),
    "imap": lambda pool: list(pool.imap(abs, iter([-1, 2]), progress="none")),
    "map_async": lambda pool: pool.map_async(abs, [-1, 2]).get(),
    "a resumed map": lambda pool: pool.map(abs, [-1, 2], progress="none", resume="begin"),
    "pipeline": lambda pool: nbpar.Pipeline([abs, abs], pool=pool).map([-1, 2], progress="none"),
}


@pytest.fixture(autouse=True)
def usable_again():
    """Replace the check of a pool of engines, which is not needed here."""


@pytest.fixture(params=["serial", "threads"])
def pool(request):
    with nbpar.Pool(2, backend=request.param, progress="none") as pool:
        assert pool.map(abs, [-7]) == [7]
        yield pool


class Interrupter:
    """Sends SIGINT at one line of nbpar's code that prepares or begins a run in this thread."""

    def __init__(self, at):
        self.left = at
        self.struck = ""

    def trace(self, frame, event, arg):
        return self.trace_lines if "nbpar" in frame.f_code.co_filename else None

    def trace_lines(self, frame, event, arg):
        if event == "line" and not self.struck and self._prepares(frame) and not leaves_a_block(frame):
            self.left -= 1
            if not self.left:
                self.struck = f"{frame.f_code.co_filename}:{frame.f_lineno}"
                signal.raise_signal(signal.SIGINT)
        return self.trace_lines

    def _prepares(self, frame):
        """Whether the frame is below the block that prepares a run, or that begins it."""
        if frame.f_code.co_filename.endswith(("unbegun.py", "deferred_sigint.py")):
            return False
        while frame := frame.f_back:
            if frame.f_code.co_name in ("_over", "_launch", "__enter__"):
                return frame.f_code.co_filename.endswith(("calls.py", "pipeline.py", "launch.py"))
        return False


def interrupted(call, pool, interrupter):
    """Return what a call raises."""
    before = sys.gettrace()
    sys.settrace(interrupter.trace)
    try:
        assert call(pool) == [1, 2]
    except KeyboardInterrupt as error:
        return error
    finally:
        sys.settrace(before)
    return None


@pytest.mark.timeout(300)
@pytest.mark.parametrize("what", CALLS)
def test_ctrl_c_at_any_line_before_the_beginning(pool, what, monkeypatch, tmp_path):
    monkeypatch.setenv("NBPAR_JOURNALS", str(tmp_path))
    at, interrupter = 0, None
    while interrupter is None or interrupter.struck:
        at += 1
        interrupter, before = Interrupter(at), nbpar.last_run

        error = interrupted(CALLS[what], pool, interrupter)

        run = nbpar.last_run
        assert run is not before, interrupter.struck
        if interrupter.struck:
            assert isinstance(error, nbpar.StoppedError), interrupter.struck
            until(lambda run=run: run.done)
            assert run.state == "stopped" or run.counts == (2, 0)  # it was over when Stop came
            assert nbpar.runs()[-1].run is run
        assert pool.map(abs, [-3]) == [3]
    assert at > 30


@pytest.fixture
def slow_pool(monkeypatch):
    """A pool whose workers never come."""
    given_up = threading.Event()

    def never(*_, **__):
        given_up.wait(60)
        raise nbpar.ClusterError("it never started")

    monkeypatch.setattr(pools, "place_on_engines", never)
    pool = nbpar.Pool(2, progress="none")
    yield pool
    given_up.set()
    pool.close()


def interrupt_when_it_waits():
    """Send SIGINT when the main thread waits for workers."""
    main = threading.main_thread().ident

    def waits():
        frame = sys._current_frames()[main]
        while frame is not None:
            if frame.f_code.co_filename.endswith("placement.py"):
                return True
            frame = frame.f_back
        return False

    def run():
        until(waits)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.mark.parametrize("what", CALLS)
def test_ctrl_c_while_the_workers_start_is_the_last_run(slow_pool, what):
    with nbpar.Pool(backend="serial", progress="none") as other:
        other.map(abs, [-5])
    before = nbpar.last_run

    interrupter = interrupt_when_it_waits()
    with pytest.raises(nbpar.StoppedError, match="was stopped before it began; it has no results"):
        CALLS[what](slow_pool)
    interrupter.join()

    run = nbpar.last_run
    assert run is not before
    assert (run.state, run.done, run.results(), run.failures) == ("stopped", True, [], [])
    assert nbpar.runs()[-1].state == "stopped"
    assert "0" in repr(run.report)
    with pytest.raises(nbpar.StoppedError, match="before it began"):
        run.get()


def test_before_any_run_there_is_none(slow_pool, monkeypatch):
    from nbpar.run import history

    monkeypatch.setattr(history, "run", None)
    interrupter = interrupt_when_it_waits()
    with pytest.raises(KeyboardInterrupt):
        slow_pool.map(abs, [1], label="the first")
    interrupter.join()

    assert repr(nbpar.last_run) == "<nbpar.Run 'the first': stopped, 0 done, 0 failed>"
