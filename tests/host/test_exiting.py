"""Shutdown at the interpreter's exit: its order, and what it waits for."""

from __future__ import annotations

import signal
import sys
import threading

import pytest

from nbpar.errors import StoppedError
from nbpar.host import interpreter_exit
from nbpar.host.interpreter_exit import Exit, ExitOrder


class Work:
    """Is done after being waited for a few times."""

    by_caller = False

    def __init__(self, waits, error=None):
        self.waits = waits
        self.error = error
        self.cancelled = False

    def wait(self, seconds):
        if seconds and self.waits:
            self.waits -= 1
            if self.error is not None:
                raise self.error
        return not self.waits

    def cancel(self):
        self.cancelled = True


class ThreadOfAnEndingInterpreter(threading.Thread):
    def start(self):
        raise RuntimeError("can't create new thread at interpreter shutdown")


@pytest.fixture
def ending():
    return Exit()


@pytest.fixture
def by_sigint(monkeypatch):
    """Note that this process should end by SIGINT, instead of ending so."""
    noted = []
    monkeypatch.setattr(interpreter_exit, "end_by_sigint", lambda: noted.append(True))
    return noted


def test_pools_end_before_clusters_and_the_latest_first(ending):
    ended = []
    for name, order in [
        ("a", ExitOrder.CLUSTER),
        ("b", ExitOrder.POOL),
        ("c", ExitOrder.CLUSTER),
        ("d", ExitOrder.SPARE),
    ]:
        ending.end_with(lambda name=name: ended.append(name), order)

    ending._end()

    assert ended == ["b", "c", "a", "d"]


def test_what_is_forgotten_is_not_ended(ending):
    ended = []
    end = ended.append
    ending.end_with(end, ExitOrder.POOL)
    ending.forget(end)

    ending._end()

    assert ended == []


def test_one_that_cannot_be_ended_does_not_keep_the_others(ending, caplog):
    ended = []
    ending.end_with(lambda: ended.append(1), ExitOrder.CLUSTER)
    ending.end_with(lambda: 1 / 0, ExitOrder.POOL)

    ending._end()

    assert ended == [1]
    assert "ZeroDivisionError" in caplog.text


def test_work_is_waited_for_before_anything_ends(ending):
    work, left = Work(3), []
    ending.finish_first(work)
    ending.end_with(lambda: left.append(work.waits), ExitOrder.POOL)

    ending._end()

    assert left == [0]


def test_work_that_only_a_waiting_thread_does_is_left_to_the_end(ending):
    work = Work(3)
    work.by_caller = True
    ending.finish_first(work)

    ending._finish()
    left = work.waits
    ending._end()

    assert (left, work.waits) == (3, 0)


def test_ctrl_c_stops_the_work_and_is_not_waited_after(ending, by_sigint):
    work, ended = Work(3, KeyboardInterrupt()), []
    ending.finish_first(work)
    ending.end_with(lambda: ended.append(work.waits), ExitOrder.POOL)

    ending._finish()
    ending._end()

    assert work.cancelled
    assert ended == [2]
    assert by_sigint == [True]


def test_ctrl_c_while_something_ends_keeps_nothing_else_from_its_end(ending, by_sigint, caplog):
    ended = []
    ending.end_with(lambda: ended.append(1), ExitOrder.CLUSTER)
    ending.end_with(lambda: signal.raise_signal(signal.SIGINT), ExitOrder.POOL)

    ending._end()

    assert ended == [1]
    assert caplog.text == ""
    assert by_sigint == [True]


def main_code(error, name="__main__"):
    """Leave a traceback as an error of the main code does."""
    try:
        exec("raise error", {"error": error, "__name__": name})
    except BaseException as raised:
        return {"last_value": raised, "last_traceback": raised.__traceback__.tb_next}


@pytest.mark.parametrize(
    ("left", "interrupted"),
    [
        (main_code(KeyboardInterrupt()), True),
        (main_code(StoppedError()), True),
        (main_code(KeyboardInterrupt(), "runpy"), True),
        (main_code(KeyboardInterrupt(), "IPython.core.interactiveshell"), False),
        ({**main_code(KeyboardInterrupt()), "ps1": ">>> "}, False),
        (main_code(SystemExit()), False),
        ({}, False),
    ],
)
def test_work_is_not_waited_for_after_an_interrupt_of_the_main_code(
    ending, by_sigint, monkeypatch, left, interrupted
):
    for name in ("last_value", "last_traceback", "ps1"):
        monkeypatch.delattr(sys, name, raising=False)
    for name, value in left.items():
        monkeypatch.setattr(sys, name, value, raising=False)
    work = Work(3)
    ending.finish_first(work)

    ending._finish()
    ending._end()

    assert (work.cancelled, work.waits) == ((True, 3) if interrupted else (False, 0))
    assert by_sigint == [True] * interrupted


def test_a_thread_that_cannot_start_any_more_leaves_its_work_to_the_main_thread(ending):
    done, work = [], Work(2)
    ending.finish_first(work)
    ending.start(ThreadOfAnEndingInterpreter(target=done.append, args=[1]))

    ending._finish()

    assert done == [1]


def test_a_thread_for_which_there_is_no_room_is_an_error(ending):
    class NoRoom(threading.Thread):
        def start(self):
            raise RuntimeError("can't start new thread")

    with pytest.raises(RuntimeError, match="can't start new thread"):
        ending.start(NoRoom())


def test_a_fork_waits_for_nothing(ending):
    work = Work(3)
    ending.finish_first(work)

    ending._begin_in_fork()
    ending._finish()

    assert work.waits == 3
