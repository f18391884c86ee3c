"""If a queue cannot bind its port, the controller must not appear healthy."""

import socket

import pytest
import zmq

from nbpar.cluster.controller import BoundQueue


def test_a_taken_port_is_an_error_in_the_thread_that_starts_the_queue():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        queue = BoundQueue(zmq.ROUTER, zmq.ROUTER, zmq.PUB, b"in", b"out")
        queue.context_factory = zmq.Context
        queue.bind_in(f"tcp://127.0.0.1:{taken.getsockname()[1]}")

        with pytest.raises(zmq.ZMQError, match="Address already in use"):
            queue.start()

    queue._close_sockets()
    queue._context.term()


@pytest.mark.parametrize(("prefix", "told"), [(b"in", True), (b"intask", True), (b"incontrol", False)])
def test_the_hub_is_told_only_what_it_looks_at(prefix, told):
    queue = BoundQueue(zmq.ROUTER, zmq.ROUTER, zmq.PUB, prefix, prefix.replace(b"in", b"out"))

    queue.connect_mon("tcp://127.0.0.1:9")

    assert bool(queue._mon_connects) is told
