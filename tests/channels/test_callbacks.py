"""Callbacks for the items of a channel."""

import threading

import pytest

from nbpar.errors import ChannelError
from nbpar.testing import until


def test_callbacks_get_what_is_here_what_comes_and_the_end(gateway):
    got, ended = [], threading.Event()

    def take(item):
        got.append(item)
        if item == "end":
            ended.set()

    channel = gateway.remote_exec("for n in range(200): channel.send(n)", buffersize=10)
    channel.set_callback(take, end_marker="end")

    assert ended.wait(60)
    assert got == [*range(200), "end"]
    with pytest.raises(ChannelError, match="callback"):
        channel.set_callback(take)


def test_wait_closed_waits_until_the_callback_has_had_everything(gateway):
    got, gate = [], threading.Event()

    def take(item):
        gate.wait(60)
        got.append(item)

    channel = gateway.remote_exec("for n in range(100): channel.send(n)")
    channel.set_callback(take, end_marker="end")
    with pytest.raises(TimeoutError, match="not closed"):
        channel.wait_closed(timeout=0.05)
    gate.set()
    channel.wait_closed(timeout=60)

    assert got == [*range(100), "end"]


def test_a_callback_may_wait_for_the_end_of_its_own_channel(gateway):
    ended = threading.Event()
    channel = gateway.remote_exec("channel.send(1)")

    def wait(item):
        channel.wait_closed(10)
        ended.set()

    channel.set_callback(wait)

    assert ended.wait(60)


def test_a_callback_that_raises_closes_the_channel_with_its_error(gateway):
    def listen(channel, told):
        channel.send(1)
        try:
            channel.receive()
        except Exception as error:
            told.send(repr(error))

    told = gateway.new_channel()
    channel = gateway.remote_exec(listen, told=told)
    channel.set_callback(lambda item: 1 / 0)

    assert "division by zero" in told.receive(timeout=60)


def test_callbacks_work_there_while_the_code_computes(gateway):
    def compute(channel, other):
        got = []
        other.set_callback(got.append)
        channel.send("computing")
        while len(got) < 3:
            pass
        channel.send(got)

    other = gateway.new_channel()
    channel = gateway.remote_exec(compute, other=other)
    assert channel.receive(timeout=60) == "computing"
    for item in range(3):
        other.send(item)

    assert channel.receive(timeout=60) == [0, 1, 2]
    other.close()


def test_a_callback_goes_on_when_nobody_holds_the_channel(gateway):
    got = []
    gate = gateway.new_channel()

    def later(channel, gate):
        gate.receive()
        channel.send(1)

    gateway.remote_exec(later, gate=gate).set_callback(got.append, end_marker="end")
    gate.send("go")

    until(lambda: got == [1, "end"])


def test_a_callback_gets_all_that_came_before_its_channel_was_let_go(gateway):
    got, held = [], threading.Event()
    channel = gateway.remote_exec("for n in range(3): channel.send(n)")
    channel.set_callback(lambda n: held.wait(30) and got.append(n), end_marker="end")
    end = channel._end
    until(lambda: end.over)

    del channel
    until(lambda: not hasattr(end.handle, "end") and not end.port.dropped)
    held.set()

    until(lambda: got == [0, 1, 2, "end"])
