"""Clusters of ipyparallel that pools join."""

from contextlib import contextmanager

import ipyparallel

ATTEMPTS = 3
"""Number of starts before a test fails.

With encryption, about one start in 200 on a busy machine leaves out an engine, or has a hub that does not
answer its first client.
"""


@contextmanager
def cluster_of_its_own(engines, folder, *, encrypted):
    """A client of engines that nbpar joins, perhaps behind a controller that encrypts (CURVE)."""
    cluster, client = started(engines, folder, ATTEMPTS, encrypted=encrypted)
    try:
        assert bool(client.curve_serverkey) == encrypted
        yield client
    finally:
        client.close()
        cluster.stop_cluster_sync()


def started(engines, folder, attempts, *, encrypted):
    """Return a cluster and its client, whose engines are all there."""
    cluster = ipyparallel.Cluster(
        n=engines, engines="nbpar", controller="nbpar", profile_dir=f"{folder}-{attempts}", log_level=40,
        controller_args=["--IPController.enable_curve=True"] if encrypted else [], engine_timeout=30,
    )  # fmt: skip
    client = None
    try:
        cluster.start_cluster_sync()
        client = cluster.connect_client_sync()
        client.wait_for_engines(engines, timeout=30)
    except TimeoutError:
        if client is not None:
            client.close()
        cluster.stop_cluster_sync()
        if attempts == 1:
            raise
        return started(engines, folder, attempts - 1, encrypted=encrypted)
    return cluster, client
