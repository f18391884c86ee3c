"""Faults: an exception ends the pool's loop on an engine whose process survives."""

from __future__ import annotations

import pytest

import nbpar
from nbpar.testing import until
from nbpar.worker.loop import MOST_STRIKES
from nbpar.worker.mail.mailbox import Mailbox

from .harm import engines

pytestmark = pytest.mark.engines

NUMBERS = list(range(20))


def spoil(_, times=1):
    """Make the loop end after this item, and as many of those that follow; it survives fewer exceptions."""
    if Mailbox.next_call.__name__ == "fail":
        return  # it has been told
    working, left = Mailbox.next_call, [None] * times * (MOST_STRIKES + 1)

    def fail(mailbox):
        if not left:
            Mailbox.next_call = working
            return working(mailbox)
        left.pop()
        raise TimeoutError("what an item has left behind")

    Mailbox.next_call = fail


def test_engines_whose_loop_an_exception_has_ended_are_replaced(pool):
    for _ in range(3):
        before = engines(pool)
        pool.map(spoil, range(4), errors="skip", chunksize=1)

        assert pool.map(abs, NUMBERS) == NUMBERS
        until(lambda pids=before: len(engines(pool)) == 2 and not pids & engines(pool))
        assert not pool.broken


def test_an_engine_of_anothers_cluster_is_used_again_when_an_exception_has_ended_its_loop():
    with (
        nbpar.Cluster(1) as cluster,
        nbpar.Pool(cluster=cluster.client, progress="none") as pool,
    ):
        for _ in range(2):
            pool.map(spoil, [1], errors="skip")

            assert pool.map(abs, NUMBERS) == NUMBERS
        assert not pool.broken


@pytest.mark.parametrize("joined", [True, False], ids=["a client", "a cluster that does not heal"])
def test_a_pool_on_engines_that_cannot_be_replaced_says_when_they_are_all_of_no_use(joined):
    with (
        nbpar.Cluster(1, heal=False) as cluster,
        nbpar.Pool(cluster=cluster.client if joined else cluster, progress="none") as pool,
    ):
        pool.map(lambda item: spoil(item, times=5), [1], errors="skip")

        def is_broken():
            with pytest.raises(
                (nbpar.NoWorkersError, nbpar.WorkerDied), match="what an item has left behind"
            ):
                pool.map(abs, NUMBERS)
            return pool.broken

        until(is_broken)

        assert pool.map(abs, NUMBERS) == NUMBERS  # the next call tries again
        assert not pool.broken
