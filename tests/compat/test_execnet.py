"""Programs written for execnet: code and channels."""

import queue
import threading

import pytest


def test_a_text_sends_and_receives(gateway):
    channel = gateway.remote_exec("""
        x = channel.receive()
        channel.send(x + 1)
    """)
    channel.send(41)

    assert channel.receive() == 42
    channel.waitclose(10)
    assert channel.isclosed()
    with pytest.raises(EOFError):
        channel.receive()
    with pytest.raises(OSError, match="closed"):
        channel.send(1)


def multiplier(channel, factor):
    while not channel.isclosed():
        param = channel.receive()
        channel.send(param * factor)


def test_a_function_gets_its_arguments_and_ends_with_its_channel(gateway):
    channel = gateway.remote_exec(multiplier, factor=10)
    for number in range(5):
        channel.send(number)
        assert channel.receive() == number * 10

    channel.close()
    channel.waitclose(10)
    with pytest.raises(TypeError):
        gateway.remote_exec("pass", factor=1)


def test_remote_errors_are_raised_once(gateway):
    channel = gateway.remote_exec("raise ValueError('broken')")

    with pytest.raises(channel.RemoteError) as raised:
        channel.receive()
    assert "ValueError: broken" in raised.value.formatted
    with pytest.raises(EOFError):
        channel.receive()


@pytest.mark.parametrize("text", ["def foo()", "1 / 0", "raise ValueError"])
def test_every_remote_error_has_a_traceback(gateway, text):
    channel = gateway.remote_exec(text)

    with pytest.raises(channel.RemoteError) as raised:
        channel.waitclose(20)

    assert raised.value.formatted.startswith("Traceback (most recent call last):")
    assert "Error" in raised.value.formatted.splitlines()[-1]


def test_timeouts_are_oserrors(execnet, gateway):
    channel = gateway.remote_exec("channel.receive()")

    with pytest.raises(channel.TimeoutError):
        channel.receive(timeout=0.01)
    with pytest.raises(execnet.TimeoutError):
        channel.waitclose(timeout=0.01)
    assert issubclass(execnet.TimeoutError, OSError)
    channel.close()


def test_callbacks_and_end_markers(gateway):
    got = queue.Queue()
    channel = gateway.remote_exec("for n in range(3): channel.send(n)")
    channel.setcallback(got.put, endmarker=None)

    assert [got.get(timeout=60) for _ in range(4)] == [0, 1, 2, None]
    with pytest.raises(OSError, match="callback"):
        channel.receive()


def test_far_callbacks_files_and_new_channels(gateway):
    channel = gateway.remote_exec("""
        import queue
        got = queue.Queue()
        channel.setcallback(got.put, endmarker=-1)
        other = channel.gateway.newchannel()
        channel.send(other)
        print(got.get(), "lines", file=other.makefile("w"), end="")
        got.get()
    """)
    other = channel.receive()
    channel.send("three")

    assert other.makefile("r").read(11) == "three lines"
    channel.close()
    with pytest.raises(ValueError, match="not available"):
        other.makefile("x")


def test_code_cannot_close_its_own_channel(gateway):
    channel = gateway.remote_exec("""
        try:
            channel.close()
        except OSError as error:
            channel.send(str(error))
    """)

    assert "cannot explicitly close" in channel.receive()


def test_a_second_task_runs_beside_the_first(gateway):
    first = gateway.remote_exec("channel.receive()")
    second = gateway.remote_exec("channel.send(1)")

    assert second.receive(timeout=60) == 1
    second.waitclose(10)
    status = gateway.remote_status()
    assert status.numexecuting >= 1
    assert status.execmodel == "thread"
    first.close()


def test_sends_are_never_held_back(gateway):
    channel = gateway.remote_exec("""
        gate = channel.receive()
        gate.receive()
        channel.send(sum(channel.receive() for _ in range(5000)))
    """)
    gate = gateway.newchannel()
    channel.send(gate)
    for _ in range(5000):
        channel.send(1)
    gate.send("go")

    assert channel.receive(timeout=60) == 5000


def test_a_channel_is_its_own_iterator_and_knows_its_gateway(gateway):
    channel = gateway.remote_exec("for n in range(3): channel.send(n)")

    assert channel.gateway is gateway
    assert next(channel) == 0
    assert channel.next() == 1
    assert list(channel) == [2]
    assert repr(channel) == f"<Channel id={channel.id} closed>"


def test_a_channel_that_came_in_a_message_knows_its_gateway_too(gateway):
    other = gateway.remote_exec("channel.send(channel.gateway.newchannel())").receive(20)

    assert other.gateway is gateway


def test_waitclose_waits_for_the_callback_and_its_end_marker(gateway):
    got = []
    channel = gateway.remote_exec("for n in range(10): channel.send(n)")
    channel.setcallback(got.append, endmarker=None)

    channel.waitclose(20)

    assert got == [*range(10), None]


def test_a_callback_gets_what_had_come_to_a_closed_channel(gateway):
    channel = gateway.remote_exec("for n in range(3): channel.send(n)")
    channel.waitclose(20)
    got = queue.Queue()

    channel.setcallback(got.put, endmarker="end")

    assert [got.get(timeout=60) for _ in range(4)] == [0, 1, 2, "end"]


def test_an_error_of_code_whose_items_go_to_a_callback_is_asked_for_once(gateway):
    ended = threading.Event()
    channel = gateway.remote_exec("raise LookupError('broken')")
    channel.setcallback(lambda item: ended.set(), endmarker=None)

    assert ended.wait(20)
    assert "LookupError: broken" in str(channel._getremoteerror())
    assert channel._getremoteerror() is None


def test_a_file_is_read_to_the_end_of_its_channel(gateway):
    channel = gateway.remote_exec("""
        out = channel.makefile()
        print("one", file=out)
        print("two", file=out)
    """)
    lines = channel.makefile("r")

    assert lines.readline() == "one\n"
    assert lines.read(100) == "two\n"
    assert lines.read(100) == ""


def test_what_is_printed_there_is_not_shown_here(gateway, capfd):
    channel = gateway.remote_exec("print('nobody reads this'); channel.send(1)")
    assert channel.receive(20) == 1
    channel.waitclose(20)

    assert "nobody" not in capfd.readouterr().out


def test_far_code_finds_locks_and_events_of_its_model(gateway):
    channel = gateway.remote_exec("""
        model = channel.gateway.execmodel
        event = model.Event()
        event.set()
        with model.RLock():
            channel.send((event.wait(), model.queue.Queue().empty()))
    """)

    assert channel.receive(20) == (True, True)
    assert gateway.execmodel.backend == "thread"
