"""One channel: items in both directions, its end, its limits."""

import threading

import numpy as np
import pytest
from programs import echo

import nbpar
from nbpar.errors import ChannelClosed, EndOfChannel, RemoteError
from nbpar.testing import until


def test_items_come_back_in_order(gateway):
    with gateway.remote_exec(echo) as channel:
        for item in range(100):
            channel.send(item)

        assert [channel.receive(timeout=60) for _ in range(100)] == list(range(100))


@pytest.mark.parametrize("item", [
    None, True, -(2**70), 1.5, "text", b"x" * 50_000, bytearray(b"ab"), {1: [2, (3, {4})]}, range(5),
    ValueError("an exception"), b"",
], ids=repr)  # fmt: skip
def test_any_picklable_item_comes_back_as_it_was(gateway, item):
    with gateway.remote_exec(echo) as channel:
        channel.send(item)

        back = channel.receive(timeout=60)

    assert type(back) is type(item)
    assert repr(back) == repr(item)


def test_arrays_travel_out_of_band_and_arrive_writable(gateway):
    array = np.arange(1e6)
    with gateway.remote_exec(echo) as channel:
        channel.send({"array": array})

        back = channel.receive(timeout=60)["array"]

    assert (back == array).all()
    back[0] = 7
    assert array[0] == 0


def test_what_is_changed_after_sending_has_been_sent_as_it_was(gateway):
    array, items = np.zeros(100_000), [1]
    with gateway.remote_exec(echo) as channel:
        channel.send(array)
        channel.send(items)
        array[:] = 1
        items.append(2)

        assert channel.receive(timeout=60).sum() == 0
        assert channel.receive(timeout=60) == [1]


def test_what_cannot_be_pickled_is_named_and_the_channel_goes_on(gateway):
    with gateway.remote_exec(echo) as channel:
        with pytest.raises(nbpar.PicklingError, match="lock"):
            channel.send({"key": threading.Lock()})

        channel.send(1)
        assert channel.receive(timeout=60) == 1


def test_receive_gives_up_after_its_timeout_and_the_item_can_still_come(gateway):
    with gateway.remote_exec(echo) as channel:
        with pytest.raises(TimeoutError, match=r"within 0\.01 s"):
            channel.receive(timeout=0.01)

        channel.send(1)
        assert channel.receive(timeout=60) == 1


def test_iteration_ends_when_the_code_does(gateway):
    def count(channel, upto):
        for number in range(upto):
            channel.send(number)

    channel = gateway.remote_exec(count, upto=5)

    assert list(channel) == [0, 1, 2, 3, 4]
    assert channel.closed
    with pytest.raises(EndOfChannel, match="nothing more comes"):
        channel.receive(timeout=60)
    with pytest.raises(EndOfChannel, match="receives nothing more"):
        channel.send(1)


def test_what_was_closed_here_says_so(gateway):
    channel = gateway.remote_exec(echo)
    channel.close()
    channel.close()

    with pytest.raises(ChannelClosed, match="you closed"):
        channel.receive(timeout=60)
    with pytest.raises(ChannelClosed, match="you closed"):
        channel.send(1)
    assert list(channel) == []


def test_closing_ends_the_code_that_waits_there(gateway):
    def wait(channel, told):
        try:
            channel.receive()
        finally:
            told.send("over")

    told = gateway.new_channel()
    channel = gateway.remote_exec(wait, told=told)
    channel.close()

    assert told.receive(timeout=60) == "over"


def test_wait_closed_waits_and_leaves_what_has_come(gateway):
    channel = gateway.remote_exec("channel.send(1); channel.send(2)")

    channel.wait_closed(timeout=60)

    assert list(channel) == [1, 2]


def test_wait_closed_gives_up_after_its_timeout(gateway):
    with gateway.remote_exec(echo) as channel, pytest.raises(TimeoutError, match="not closed within"):
        channel.wait_closed(timeout=0.01)


def test_an_error_there_is_raised_once_and_then_the_channel_is_over(gateway):
    def fail(channel):
        channel.send("before")
        raise LookupError("no such thing")

    channel = gateway.remote_exec(fail)

    assert channel.receive(timeout=60) == "before"
    with pytest.raises(RemoteError, match="no such thing") as raised:
        channel.receive(timeout=60)
    assert isinstance(raised.value.__cause__, LookupError)
    assert raised.value.formatted.startswith("Traceback (most recent call last):")
    with pytest.raises(EndOfChannel):
        channel.receive(timeout=60)


@pytest.mark.parametrize("error", ["EOFError('mine')", "SystemExit(3)", "KeyboardInterrupt()"])
def test_every_error_there_is_told(gateway, error):
    channel = gateway.remote_exec(f"raise {error}")

    with pytest.raises(RemoteError):
        channel.wait_closed(timeout=60)


@pytest.mark.parametrize("error", ["in my words", ValueError("in my words")])
def test_code_can_close_with_an_error(gateway, error):
    channel = gateway.remote_exec(lambda channel, error: channel.close(error), error=error)

    with pytest.raises(RemoteError, match="in my words"):
        channel.receive(timeout=60)


def test_closing_with_an_error_raises_it_there(gateway):
    def listen(channel, told):
        try:
            channel.receive()
        except Exception as error:
            told.send(str(error))

    told = gateway.new_channel()
    gateway.remote_exec(listen, told=told).close("I am through with you")

    assert "through with you" in told.receive(timeout=60)


def test_a_channel_inside_a_message_is_the_same_channel(gateway):
    def answer_elsewhere(channel):
        other = channel.receive()["to"]
        other.send("through the other one")
        channel.send(other)

    other = gateway.new_channel()
    channel = gateway.remote_exec(answer_elsewhere)
    channel.send({"to": other})

    assert other.receive(timeout=60) == "through the other one"
    assert channel.receive(timeout=60) is other


def test_code_can_make_channels_too(gateway):
    def make(channel):
        made = channel.new_channel()
        channel.send(made)
        made.send(made.receive() + 1)

    channel = gateway.remote_exec(make)
    made = channel.receive(timeout=60)
    made.send(1)

    assert made.receive(timeout=60) == 2


def test_what_came_through_a_channel_is_there_when_that_is_received_after_its_end(gateway):
    channel = gateway.remote_exec("""
        made = channel.new_channel()
        channel.send([made, made])
        made.send("from there")
        made.close()
        gate = channel.new_channel()
        channel.send(gate)
        gate.receive()
        one, other = channel.receive()
        channel.send((one is other, one.receive(), list(other)))
    """)
    mine = gateway.new_channel()
    channel.send([mine, mine])
    mine.send("from here")
    mine.close()

    first = channel.receive(20)
    gate = channel.receive(20)
    gate.send(1)
    there = channel.receive(20)
    channel.wait_closed(20)

    assert first[0] is first[1]
    assert (first[0].receive(20), list(first[1])) == ("from there", [])
    assert there == (True, "from here", [])


def test_a_channel_that_is_received_after_the_code_is_over_still_has_its_items(gateway):
    channel = gateway.remote_exec("""
        made = channel.new_channel()
        channel.send(made)
        made.send("hello")
    """)

    channel.wait_closed(20)
    made = channel.receive(20)

    assert made.receive(20) == "hello"
    with pytest.raises(EndOfChannel):
        made.receive(20)


def test_a_channel_cannot_go_through_another_gateway(pool):
    first, second = pool.gateways
    with (
        first.remote_exec(echo) as one,
        second.remote_exec(echo) as two,
        pytest.raises(nbpar.PicklingError, match="same gateway"),
    ):
        one.send(two)


def test_files_join_lines(gateway):
    def write(channel):
        with channel.make_file("w") as out:
            print("a line", file=out)
            print("another", 1, file=out)

    def read(channel):
        channel.send(channel.make_file("r").read())

    lines = list(gateway.remote_exec(write).make_file("r"))
    assert lines == ["a line\n", "another 1\n"]

    with pytest.raises(ValueError, match='must be "w" or "r"'):
        gateway.remote_exec(read).make_file("rb")


def alive(channel=None):
    """Count the ends of channels, and the threads for channels, that are in this process."""
    import gc
    import threading

    from nbpar.endpoint.end import End

    gc.collect()
    ends = sum(isinstance(thing, End) for thing in gc.get_objects())
    threads = sum(thread.name.startswith("nbpar channel") for thread in threading.enumerate())
    if channel is not None:
        channel.send((ends, threads))
    return ends, threads


def test_ten_thousand_channels_leave_nothing_behind(gateway, pool):
    lines = pool.launcher.dispatcher.lines
    before, there = alive(), gateway.remote_exec(alive).receive(10)
    for _ in range(90):
        channels = [gateway.new_channel() for _ in range(100)]
        for channel in channels:
            channel.close()
    for number in range(1000):
        gateway.remote_exec("pass", thread=number % 100 == 0)
    del channel, channels

    until(lambda: not len(lines) and not len(gateway._port._ends), timeout=60)
    until(lambda: gateway.remote_exec(alive).receive(60) <= there)
    until(lambda: alive() <= before)
