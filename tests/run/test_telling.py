"""The thread of users' callbacks."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from nbpar.run.callbacks import CallbackThread
from nbpar.testing import until

FORK = """
import os, threading
from nbpar.run.callbacks import callback_thread

held, told = threading.Event(), []
callback_thread.tell(held.wait, "the parent")
if not os.fork():
    callback_thread.tell(lambda: told.append("child"), "the child")
    callback_thread.wait()
    os.write(1, " ".join(told).encode())
    os._exit(0)
os.wait()
held.set()
"""


def test_a_fork_gets_a_thread_of_its_own():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK], capture_output=True, text=True, timeout=60, check=False
    )

    assert done.stdout == "child", done.stderr


def test_a_thread_that_was_ended_from_outside_is_replaced(monkeypatch):
    teller, called, ends = CallbackThread(), [], []
    monkeypatch.setattr(threading, "excepthook", ends.append)
    with monkeypatch.context() as patch:
        patch.setattr("nbpar.run.callbacks.call_safely", _end_thread)  # as an exception thrown into it would
        teller.tell(lambda: called.append("first"), "the first")
        until(lambda: ends, 30.0, "the thread did not end")

    teller.tell(lambda: called.append("second"), "the second")
    teller.wait()

    assert called == ["second"]


def test_a_callback_is_not_lost_for_ever_when_no_thread_can_be_started(monkeypatch):
    teller, called = CallbackThread(), []
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", _refuse)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            teller.tell(lambda: called.append("first"), "the first")
        teller.wait()

    teller.tell(lambda: called.append("second"), "the second")
    teller.wait()

    assert called == ["first", "second"]


def _end_thread(*_):
    raise SystemExit


def _refuse(_):
    raise RuntimeError("can't start new thread")
