"""Faults: what all engines hang on dies (controller, template), or their sockets are disturbed."""

from __future__ import annotations

import os
import signal

import pytest
import zmq

import nbpar

from .conftest import family, until

pytestmark = pytest.mark.engines


@pytest.mark.parametrize("centre", ["controller", "template"])
def test_a_centre_that_dies_during_a_run_ends_it_and_keeps_what_is_done(pool, centre, tmp_path):
    victim = family(pool)[centre]
    begun = tmp_path / "begun"

    def function(item):
        if item >= 4:
            begun.touch()
            signal.pause()
        return item

    run = pool.map_async(function, range(8), chunksize=1)
    until(begun.exists)
    until(lambda: run.finished_indices == {0, 1, 2, 3})
    os.kill(victim, signal.SIGKILL)

    with pytest.raises((nbpar.NoWorkersError, nbpar.WorkerDied)):
        run.get(60)
    assert run.results() == [0, 1, 2, 3]


@pytest.mark.parametrize("centre", ["controller", "template"])
def test_a_centre_that_dies_between_runs_is_replaced_with_all_that_hangs_on_it(pool, centre):
    before = family(pool)
    os.kill(before[centre], signal.SIGKILL)
    until(lambda: pool.broken)

    assert pool.map(abs, range(-9, 0)) == list(range(9, 0, -1))
    assert family(pool)[centre] != before[centre]


def test_garbage_on_the_socket_is_dropped(pool):
    pool.each(int)
    [address] = {facts["address"] for facts in pool.workers}
    if not address:
        pytest.skip("there is no socket on this path")
    run = pool.map_async(lambda item: item + 1, range(2000), chunksize=1)
    with zmq.Context() as context, context.socket(zmq.DEALER) as stranger:
        stranger.connect(address)
        for garbage in ([b""], [b"\x80\x05N."], [b"nonsense", b"more"], [b"cos\nsystem\n(S'true'\ntR."]):
            stranger.send_multipart(garbage)
        stranger.close(linger=1000)

    assert run.get(60) == [item + 1 for item in range(2000)]
