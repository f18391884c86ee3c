"""Clusters whose number of engines follows the work."""

import time

import pytest

import nbpar
from nbpar.testing import until

pytestmark = pytest.mark.engines


@pytest.fixture
def cluster():
    with nbpar.Cluster(1) as made:
        yield made


def test_engines_come_with_work_and_end_without_it(cluster):
    cluster.adapt(1, 3, idle=0.5)
    with nbpar.Pool(cluster=cluster) as pool:
        run = pool.map_async(time.sleep, [0.01] * 100_000, chunksize=1)
        until(lambda: len(cluster.engines) == 3, 60)
        until(lambda: run.snapshot.workers == 3, 60)
        run.cancel()
        until(lambda: len(cluster.engines) == 1, 60)

        assert pool.map(abs, [-1]) == [1]

    assert run.snapshot.lost_workers == 0


def test_a_cluster_without_engines_gets_some_for_the_next_run(cluster):
    cluster.adapt(0, 2, idle=0.2)
    with nbpar.Pool(cluster=cluster) as pool:
        until(lambda: not cluster.engines, 60)

        assert pool.map(abs, range(-2, 1)) == [2, 1, 0]

        until(lambda: not cluster.engines, 60)


def test_an_engine_that_computes_is_not_idle(cluster):
    cluster.adapt(0, 1, idle=0.2)
    with nbpar.Pool(cluster=cluster) as pool:
        run = pool.map_async(time.sleep, [4.0])
        run.get(60)

        assert run.snapshot.lost_workers == 0


def echo(channel):
    channel.send(channel.receive() + 1)


def test_an_engine_with_an_open_channel_is_not_idle(cluster):
    cluster.adapt(0, 1, idle=0.2)
    with nbpar.Pool(cluster=cluster) as pool:
        channel = pool.gateways[0].remote_exec(echo)
        time.sleep(3.0)  # several looks for work

        channel.send(1)
        assert channel.receive(timeout=60) == 2


def test_an_engine_that_ipyparallel_uses_is_not_idle(cluster):
    cluster.adapt(0, 1, idle=0.2)

    answer = cluster.client[:].apply_async(time.sleep, 3.0)

    assert answer.get(60) == [None]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((-1, 2), ValueError, "must be at least 1, was -1"),
        ((2, 1), ValueError, "the maximum of engines must be at least the minimum, 2, was 1"),
        ((0, 0), ValueError, "must be at least 1, was 0"),
        ((False, 1), TypeError, "must be a whole number, was False"),
        ((0, 1.5), TypeError, "must be a whole number, was 1.5"),
        ((0, 1, 0), ValueError, "idle must be a number of seconds above 0"),
    ],
)
def test_bounds_that_are_none(arguments, error, message):
    with pytest.raises(error, match=message):
        nbpar.Cluster(1).adapt(*arguments[:2], **dict(zip(("idle",), arguments[2:], strict=False)))
