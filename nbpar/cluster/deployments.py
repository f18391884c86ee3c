"""The deployment for each kind of engines."""

from __future__ import annotations

from typing import Any

from nbpar.cluster.base import Deployment, DeploymentListener, Settings
from nbpar.cluster.batch.deployment import JobsDeployment
from nbpar.cluster.batch.jobs import Jobs
from nbpar.cluster.fork_server import can_fork, fork_server_for
from nbpar.cluster.forked import ForkedDeployment
from nbpar.cluster.remote.deployment import HostsDeployment
from nbpar.cluster.remote.hosts import Hosts
from nbpar.errors import ClusterError


def deployment_for(
    engines: Any, n: int, settings: Settings, occupant: DeploymentListener, options: dict[str, Any]
) -> Deployment:
    """Return the deployment for engines on this host, on others, in jobs, or by a launcher of ipyparallel.

    Args:
        engines: the kind of engines.
        n: their number.
        settings: their settings.
        occupant: is notified of failures.
        options: of ipyparallel's launcher.

    Raises:
        ClusterError: its processes cannot be started.
    """
    if engines == "nbpar":
        return ForkedDeployment(fork_server_for(settings, n), settings, occupant)
    if isinstance(engines, (Hosts, Jobs)):
        if not can_fork():
            raise ClusterError(f"{engines} engines need a system with fork, which this one is not")
        local = fork_server_for(Settings(), n)
        if isinstance(engines, Hosts):
            return HostsDeployment(local, settings, occupant, engines)
        return JobsDeployment(local, settings, occupant, engines)
    from nbpar.cluster.launched.deployment import LaunchedDeployment

    return LaunchedDeployment(engines, options, settings, occupant)
