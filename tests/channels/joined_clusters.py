"""Clusters of ipyparallel that pools join."""

from contextlib import contextmanager

import ipyparallel


@contextmanager
def cluster_of_its_own(engines, folder, *, encrypted):
    """A client of engines that nbpar joins, perhaps behind a controller that encrypts (CURVE)."""
    cluster = ipyparallel.Cluster(
        n=engines, engines="nbpar", controller="nbpar", profile_dir=str(folder), log_level=40,
        controller_args=["--IPController.enable_curve=True"] if encrypted else [],
    )  # fmt: skip
    client = cluster.start_and_connect_sync()
    try:
        assert bool(client.curve_serverkey) == encrypted
        yield client
    finally:
        client.close()
        cluster.stop_cluster_sync()
