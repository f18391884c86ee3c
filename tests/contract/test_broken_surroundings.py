"""Broken streams, handlers, widgets and user code around a run do not harm it."""

from __future__ import annotations

import logging
import sys

import pytest

import nbpar
from nbpar.testing import until
from nbpar.views import choose

pytestmark = pytest.mark.timeout(120)


class Panic(BaseException):
    """The kind of exception that libraries written in other languages raise."""


HARM = [OSError, ValueError, SystemExit, GeneratorExit, KeyboardInterrupt, Panic]


class Broken:
    """A stream that takes nothing."""

    encoding = "utf-8"

    def __init__(self, error):
        self.error = error

    def write(self, text):
        raise self.error(text)

    def flush(self):
        raise self.error("flush")

    def isatty(self):
        return False


def put_out(item):
    print("printed", item)
    logging.getLogger("broken").warning("logged %s", item)
    return item


@pytest.mark.parametrize("error", HARM)
def test_streams_that_break_cost_no_run_whose_items_print(busy_pool, monkeypatch, error):
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", Broken(error))
        patch.setattr(sys, "stderr", Broken(error))
        results = busy_pool.map(put_out, range(4), progress="text")
        streamed = list(busy_pool.imap(put_out, range(4), progress="text"))

    assert results == streamed == [0, 1, 2, 3]


@pytest.mark.parametrize("error", HARM)
def test_a_log_handler_that_breaks_costs_no_run_and_no_other_output(busy_pool, monkeypatch, capsys, error):
    class Handler(logging.Handler):
        def emit(self, record):
            raise error(record)

    monkeypatch.setattr(logging.getLogger("broken"), "handlers", [Handler()])
    monkeypatch.setattr(logging.getLogger("broken"), "propagate", False)

    assert busy_pool.map(put_out, range(3)) == [0, 1, 2]

    assert [line for line in capsys.readouterr().out.splitlines() if "printed" in line] == [
        "[0] printed 0", "[1] printed 1", "[2] printed 2",
    ]  # fmt: skip


@pytest.mark.parametrize("error", HARM)
@pytest.mark.parametrize("part", ["show", "close"])
def test_a_view_that_breaks_costs_no_run(pool, monkeypatch, caplog, part, error):
    def fail(self, look):
        raise error("of the view")

    monkeypatch.setattr(choose.Text, part, fail)

    assert pool.map(abs, range(-3, 0), progress="text") == [3, 2, 1]
    background = pool.map_async(abs, [-1], progress="text")
    assert background.get(timeout=60) == [1]

    if part == "close":
        assert "progress of abs is shown no more" in caplog.text


@pytest.mark.parametrize("way", ["map", "imap", "submit", "channel"])
def test_a_result_that_waits_for_its_own_pool_where_it_is_loaded_fails_alone(kind, pool, way):
    if not kind.own_process:
        pytest.skip("nothing is unpickled")
    _pools["here"] = pool

    class Waits:
        def __reduce__(self):
            return _wait_here, (way,)

    results = pool.map(lambda n: Waits() if n == 1 else n, range(3), errors="collect", chunksize=1)

    assert [results[0], results[2]] == [0, 2]
    assert "waiting here would last for ever" in str(results[1].exception)
    assert isinstance(results[1].exception, nbpar.PicklingError)
    until(lambda: not pool.launcher.dispatcher.running, 30, "what it asked for goes on")


_pools: dict = {}


def _wait_here(way):
    if (pool := _pools.get("here")) is None:
        return None  # on the engine, which makes sure that it can be loaded
    if way == "channel":
        with pool.gateways[0].remote_exec("channel.send(1)") as channel:
            return channel.receive()
    if way == "submit":
        return pool.submit(abs, -1).result()
    return list(getattr(pool, way)(abs, [-1]))
