"""Faults: a process that all engines depend on dies (controller, template), or sockets are disturbed."""

from __future__ import annotations

import os
import signal
import socket

import pytest
import zmq

import nbpar
from nbpar.testing import until

from .harm import family, has_controller

pytestmark = pytest.mark.engines


@pytest.mark.parametrize("center", ["controller", "template"])
def test_a_center_that_dies_during_a_run_ends_it_and_keeps_what_is_done(pool, center, tmp_path):
    if center == "controller" and not has_controller(pool):
        pytest.skip("its engines have none")
    victim = family(pool)[center]
    begun = tmp_path / "begun"

    def function(item):
        if item >= 4:
            begun.touch()
            while True:  # no signal but the last ends it
                signal.pause()
        return item

    run = pool.map_async(function, range(8), chunksize=1)
    until(begun.exists)
    until(lambda: run.finished_indices == {0, 1, 2, 3})
    os.kill(victim, signal.SIGKILL)

    with pytest.raises((nbpar.NoWorkersError, nbpar.WorkerDied)):
        run.get(60)
    assert run.results() == [0, 1, 2, 3]


GARBAGE = [b"", b"\x00", b"nonsense", b"cos\nsystem\n(S'true'\ntR.", b"\xff" * 100_000]


def throw_at_unix_socket(address):
    """Be a stranger at the socket of the same host."""
    for garbage in GARBAGE:
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.connect(address)
            stranger.sendall(garbage)


def throw_through_controller(backend):
    """Be a stranger at the controller's queue who knows whom to disturb."""
    sockets = backend._sockets
    with zmq.Context() as context, context.socket(zmq.DEALER) as stranger:
        stranger.linger = 1000
        stranger.connect(backend.access.client._config["control"])
        for garbage in GARBAGE:
            stranger.send_multipart([sockets.identity, b"<IDS|MSG>", b"signature", garbage])
            stranger.send_multipart([sockets.identity, b"<IDS|MSG>", garbage])


def test_strangers_at_the_sockets_are_ignored(pool):
    pool.each(int)
    run = pool.map_async(lambda item: item + 1, range(2000), chunksize=1)

    for address in {facts["address"] for facts in pool.workers} - {""}:
        throw_at_unix_socket(address)
    if has_controller(pool):
        throw_through_controller(pool._place.backend)

    assert run.get(60) == [item + 1 for item in range(2000)]
