"""A connection to the client's socket is accepted only if an engine of that name is expected."""

from __future__ import annotations

import os
import pickle
import socket
import struct

import pytest

from nbpar.backends.engines.local_server import LocalServer
from nbpar.testing import until
from nbpar.wire.frames import FrameError, encode
from nbpar.wire.messages import Pong

ENGINE = b"an engine that is expected"


class Evil:
    """Does something when it is unpickled."""

    loaded = False

    def __reduce__(self):
        return _note, ()


def _note():
    Evil.loaded = True


@pytest.fixture
def server(tmp_path):
    server = LocalServer(tmp_path)
    server.admit(ENGINE)
    yield server
    server.close()


@pytest.fixture
def connect(server):
    """Connect to the server; return both ends."""
    made = []

    def connect():
        here = socket.socket(socket.AF_UNIX)
        here.connect(server.address)
        made.append(here)
        return here, server.accept()

    yield connect
    for here in made:
        here.close()


def frame(content):
    return struct.pack("<IQ", 1, len(content)) + content


EVIL_ITEMS = b"\x02" + struct.pack("<q", 1) + pickle.dumps([Evil()])


@pytest.mark.parametrize(
    "name", [b"stranger", b"", ENGINE + b"!", os.urandom(100)], ids=["another", "none", "longer", "noise"]
)
def test_nothing_of_a_stranger_is_unpickled(server, connect, name):
    here, connection = connect()
    here.sendall(frame(name) + frame(EVIL_ITEMS))

    with pytest.raises(FrameError, match="not expected"):
        server.read(connection)

    assert not Evil.loaded
    assert server.connection(name) is None


@pytest.mark.parametrize("size", [1 << 43, 1 << 20, 300])
def test_absurd_lengths_of_a_stranger_are_refused_before_memory_is_taken(server, connect, size):
    here, connection = connect()
    here.sendall(struct.pack("<IQ", 1, size))

    with pytest.raises(FrameError, match="no name"):
        server.read(connection)


def test_an_engine_that_is_expected_is_heard_at_once_with_all_that_follows_its_name(server, connect):
    here, connection = connect()
    [pong] = encode([Pong(1)])
    here.sendall(frame(ENGINE) + frame(pong))

    assert server.read(connection) == [[pong]]
    assert server.connection(ENGINE) is connection


def test_a_name_serves_once(server, connect):
    (first, one), (second, other) = connect(), connect()
    first.sendall(frame(ENGINE))
    assert server.read(one) == []

    second.sendall(frame(ENGINE))
    with pytest.raises(FrameError, match="not expected"):
        server.read(other)
    server.forget(other)

    assert server.connection(ENGINE) is one


def test_an_engine_that_was_dismissed_is_heard_no_more(server, connect):
    here, connection = connect()
    here.sendall(frame(ENGINE))
    server.read(connection)

    server.dismiss(ENGINE)

    assert here.recv(1) == b""
    until(lambda: server.read(connection) == [] and connection.incoming.ended)
