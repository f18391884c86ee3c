"""The echo beside the worker loop."""

from __future__ import annotations

import threading

import pytest
import zmq

from nbpar.testing import until
from nbpar.worker.heart import Heart


@pytest.fixture
def controller():
    """A socket as a controller has it, and its address."""
    context = zmq.Context()
    socket = context.socket(zmq.ROUTER)
    socket.router_mandatory = 1  # a message for someone unknown is an error
    address = f"tcp://127.0.0.1:{socket.bind_to_random_port('tcp://127.0.0.1')}"
    yield socket, address
    socket.close(linger=0)
    context.term()


def knows(socket, frames):
    try:
        socket.send_multipart(frames)
    except zmq.ZMQError:
        return False
    return True


def hearts():
    return [thread for thread in threading.enumerate() if thread.name == "nbpar heart"]


def test_it_returns_what_it_gets_until_it_is_closed(controller):
    socket, address = controller
    heart = Heart(b"w.heart", lambda own: own.connect(address))

    until(lambda: knows(socket, [b"w.heart", b"client", b"ping"]), 60)
    assert socket.poll(60_000)
    assert socket.recv_multipart() == [b"w.heart", b"client", b"ping"]

    heart.close()
    until(lambda: not hearts(), 60)


def test_nothing_is_left_of_one_that_cannot_connect():
    def refuse(_socket):
        raise OSError("no way")

    with pytest.raises(OSError, match="no way"):
        Heart(b"w.heart", refuse)

    assert hearts() == []
