"""Shutdown at the interpreter's exit: its order, and what it waits for."""

from __future__ import annotations

import threading

import pytest

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


def test_ctrl_c_stops_the_work_and_is_not_waited_after(ending):
    work, ended = Work(3, KeyboardInterrupt()), []
    ending.finish_first(work)
    ending.end_with(lambda: ended.append(work.waits), ExitOrder.POOL)

    with pytest.raises(KeyboardInterrupt):
        ending._finish()
    ending._end()

    assert work.cancelled
    assert ended == [2]


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
