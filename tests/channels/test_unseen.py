"""Printed output of a channel's code, and errors that no receiver has retrieved."""

import gc
import subprocess
import sys
import threading

import pytest
from programs import echo

from nbpar.errors import RemoteError
from nbpar.testing import until


def test_an_error_that_nobody_saw_is_shown(gateway, capsys):
    shown = []

    channels = [gateway.remote_exec("raise ValueError('unseen')")]
    until(lambda: channels[0].closed)
    channels.clear()
    gc.collect()

    until(lambda: shown.append(capsys.readouterr().err) or "unseen" in "".join(shown))
    assert "ValueError: unseen" in "".join(shown)


def test_an_error_of_a_channel_that_nobody_ever_held_is_shown(gateway, capsys):
    shown = []

    gateway.remote_exec("raise ValueError('unseen')")

    until(lambda: shown.append(capsys.readouterr().err) or "ValueError: unseen" in "".join(shown))


def test_an_error_of_code_that_was_stopped_is_not_shown(engines, capsys):
    gateway = engines.gateways[0]
    channels = [gateway.remote_exec("channel.send(1)\nwhile True: pass")]
    assert channels[0].receive(timeout=60) == 1
    channels[0].interrupt()
    until(lambda: channels[0].closed)
    channels.clear()
    gc.collect()

    assert gateway.remote_exec("channel.send(2)").receive(timeout=60) == 2
    assert capsys.readouterr().err == ""


HOLDER = """
import nbpar
if __name__ == "__main__":
    pool = nbpar.Pool(1, backend="threads")
    held = pool.gateways[0].remote_exec("channel.send(1); raise ValueError('held to the end')")
    print(held.receive(20))
    while not held.closed:
        pass
"""


def test_an_error_that_is_held_to_the_end_of_the_process_is_shown_then():
    done = subprocess.run(
        [sys.executable, "-c", HOLDER], capture_output=True, text=True, timeout=60, check=True
    )

    assert done.stderr.count("ValueError: held to the end") == 1


def test_an_error_that_somebody_saw_is_not_shown_again(gateway, capsys):
    channel = gateway.remote_exec("raise ValueError('seen')")
    with pytest.raises(RemoteError):
        channel.wait_closed(10)
    del channel
    gc.collect()

    with gateway.remote_exec(echo) as other:
        other.send(1)
        other.receive(timeout=60)
    assert "seen" not in capsys.readouterr().err


def test_prints_and_logs_arrive_labelled_before_what_is_sent_after_them(engines, capsys):
    text = "import logging\nprint('hello', 1)\nlogging.warning('careful')\nchannel.send(1)"

    assert engines.gateways[0].remote_exec(text).receive(10) == 1

    out, err = capsys.readouterr()
    assert "[engine 0] hello 1\n" in out
    assert "[engine 0] " in err
    assert "careful" in err


def test_a_line_stays_whole_when_two_threads_show_its_pieces(engines, monkeypatch):
    """Printed output is shown by a waiting receiver, and by the thread of callbacks."""
    channel = engines.gateways[0].remote_exec("channel.receive()")
    end, written = channel._end, []
    begun, overtaken = threading.Event(), threading.Event()

    def write(stream, text):
        if begun.is_set():
            overtaken.set()
        else:
            begun.set()
            overtaken.wait(0.2)
        written.append(text)

    monkeypatch.setattr(end._origin, "write", write)
    end.printed += [("stdout", "at"), ("stdout", " 1\n")]
    first, second = (threading.Thread(target=end.show) for _ in range(2))
    first.start()
    assert begun.wait(60)
    second.start()
    first.join(60)
    second.join(60)

    assert "".join(written) == "[engine 0] at 1\n"
