"""Channels through a controller that encrypts (CURVE)."""

import ipyparallel
import pytest

import nbpar


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory):
    cluster = ipyparallel.Cluster(
        n=1, engines="local", controller_args=["--IPController.enable_curve=True"],
        profile_dir=str(tmp_path_factory.mktemp("profile")), log_level=40,
    )  # fmt: skip
    cluster.start_cluster_sync()
    try:
        client = cluster.connect_client_sync()
        client.wait_for_engines(1, timeout=60)
        yield client
        client.close()
    finally:
        cluster.stop_cluster_sync()


@pytest.mark.parametrize("path", ["auto", "controller"])
def test_channels_work_with_curve(encrypted, path):
    assert encrypted.curve_serverkey
    with nbpar.Pool(cluster=encrypted, path=path, progress="none") as pool:
        channel = pool.gateways[0].remote_exec("for item in channel: channel.send(item)")
        for item in (1, b"x" * 3_000_000, {"a": [1.5]}):
            channel.send(item)
        assert [channel.receive(timeout=20) for _ in range(3)] == [1, b"x" * 3_000_000, {"a": [1.5]}]

        with pytest.raises(nbpar.RemoteError, match="no such thing"):
            pool.gateways[0].remote_exec("raise LookupError('no such thing')", thread=True).wait_closed(20)
        channel.close()
