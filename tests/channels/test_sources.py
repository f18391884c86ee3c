"""The kinds of code that can run: source texts, functions, modules, files; and the place where it runs."""

import importlib
import sys
import threading

import pytest
from programs import echo

from nbpar.errors import GatewayBusy, RemoteError


def test_a_text_finds_its_channel_and_its_name(gateway):
    channel = gateway.remote_exec("""
        if __name__ == "__channelexec__":
            channel.send(__name__)
    """)

    assert channel.receive(timeout=60) == "__channelexec__"


def test_closures_lambdas_and_arguments_travel(gateway):
    outer = 40

    assert gateway.remote_exec(lambda channel, more: channel.send(outer + more), more=2).receive(10) == 42


def test_only_functions_take_arguments(gateway):
    with pytest.raises(TypeError, match="only a function takes keyword arguments"):
        gateway.remote_exec("pass", number=1)
    with pytest.raises(TypeError, match="a text, a function, a module or a path"):
        gateway.remote_exec(3)


def test_a_module_is_read_anew_each_time(gateway, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    path = tmp_path / "remote_module.py"
    path.write_text("channel.send(1) if __name__ == '__channelexec__' else None\n")
    monkeypatch.delitem(sys.modules, "remote_module", raising=False)
    module = importlib.import_module("remote_module")

    assert gateway.remote_exec(module).receive(10) == 1
    path.write_text("channel.send(2)\n")
    assert gateway.remote_exec(module).receive(10) == 2
    assert gateway.remote_exec(path).receive(10) == 2


def test_a_traceback_shows_file_line_and_text(gateway, tmp_path):
    path = tmp_path / "fails.py"
    path.write_text("def broken():\n    return 1 / 0\n\nbroken()\n")

    with pytest.raises(RemoteError) as raised:
        gateway.remote_exec(path).wait_closed(10)

    assert f'File "{path}", line 2, in broken\n    return 1 / 0' in raised.value.formatted
    assert "nbpar" not in raised.value.formatted


def test_a_traceback_shows_the_lines_of_a_text(gateway):
    with pytest.raises(RemoteError) as raised:
        gateway.remote_exec("x = 1\nx.nothing_like_this").wait_closed(10)

    assert "line 2, in <module>\n    x.nothing_like_this" in raised.value.formatted


def test_a_syntax_error_is_told(gateway):
    with pytest.raises(RemoteError, match="SyntaxError"):
        gateway.remote_exec("for").wait_closed(10)


def test_a_function_that_cannot_be_pickled_is_named(engines):
    lock = threading.Lock()

    with pytest.raises(Exception, match="lock"):
        engines.gateways[0].remote_exec(lambda channel: lock)


def test_code_runs_in_the_main_thread_of_an_engine(engines):
    text = "import threading; channel.send(threading.current_thread() is threading.main_thread())"
    gateway = engines.gateways[0]

    assert gateway.remote_exec(text).receive(10) is True
    assert gateway.remote_exec(text, thread=True).receive(10) is False


def test_code_waits_for_its_turn_or_says_busy(gateway):
    with gateway.remote_exec(echo) as first:
        second = gateway.remote_exec("channel.send('my turn')")
        with pytest.raises(TimeoutError):
            second.receive(timeout=0.05)
        with pytest.raises(GatewayBusy, match="thread=True"):
            gateway.remote_exec(echo, busy="raise")

        first.close()
        assert second.receive(timeout=60) == "my turn"


def test_code_in_threads_runs_at_the_same_time(gateway):
    channels = [gateway.remote_exec(echo, thread=True) for _ in range(5)]
    with gateway.remote_exec(echo) as main:
        for round_ in range(20):
            for channel in (*channels, main):
                channel.send(round_)
            assert [channel.receive(timeout=60) for channel in (*channels, main)] == [round_] * 6
    for channel in channels:
        channel.close()


def test_a_thread_talks_while_the_main_thread_computes(gateway):
    def compute(channel):
        channel.send("computing")
        total = 0
        while not channel.closed:
            total += 1

    main = gateway.remote_exec(compute)
    assert main.receive(timeout=60) == "computing"
    with gateway.remote_exec(echo, thread=True) as channel:
        for number in range(20):
            channel.send(number)
            assert channel.receive(timeout=60) == number
        main.close()


def test_maps_leave_a_worker_alone_whose_main_thread_is_taken(pool):
    first, second = pool.gateways
    where = "import os, threading; channel.send((os.getpid(), threading.get_ident()))"
    taken = first.remote_exec(where + "\nchannel.receive()")
    place = taken.receive(timeout=60)

    def here(_):
        import os
        import threading

        return os.getpid(), threading.get_ident()

    assert place not in pool.map(here, range(50), chunksize=1)
    taken.close()
    assert second.remote_exec(where).receive(10) != place


def test_workers_are_not_let_go_while_a_channel_is_open(engines):
    with engines.gateways[0].remote_exec(echo) as channel:
        channel.send(1)
        channel.receive(timeout=60)
        driver = engines.launcher.dispatcher._driver

        driver.jobs.idle_since -= 100
        channel.send(2)

        assert channel.receive(timeout=60) == 2


@pytest.mark.parametrize("source", [
    "lambda channel: 1", "outer_function_variable", "global_name", "wrong_first",
])  # fmt: skip
def test_pure_refuses_what_does_not_stand_alone(gateway, source):
    variable = 1

    def outer_function_variable(channel):
        return variable

    def global_name(channel):
        return pytest

    def wrong_first(connection):
        return 1

    named = {
        "lambda channel: 1": lambda channel: 1,
        "outer_function_variable": outer_function_variable,
        "global_name": global_name,
        "wrong_first": wrong_first,
    }

    with pytest.raises(ValueError, match=r"lambda|outer|global|first parameter"):
        gateway.remote_exec(named[source], pure=True)


def test_pure_accepts_comprehensions_and_functions_inside(gateway):
    def pure(channel, numbers):
        import math

        def double(number):
            return sum([math.floor(2 * n) for n in [number] if n is not None])

        channel.send([double(number) for number in numbers])

    assert gateway.remote_exec(pure, pure=True, numbers=[1, 2]).receive(10) == [2, 4]
