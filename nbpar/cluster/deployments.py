"""The deployment for each kind of engines."""

from __future__ import annotations

from typing import Any

from nbpar.cluster.base import Deployment, Settings
from nbpar.cluster.direct import DirectDeployment
from nbpar.cluster.fork_server.server import can_fork, fork_server_for
from nbpar.cluster.forked import ForkedDeployment
from nbpar.cluster.ownership import Occupancy
from nbpar.errors import ClusterError

DIRECT = "direct"
"""Stands for engines of one pool on this host, without a controller."""

START_TIMEOUT = 60.0
"""Seconds to wait for engines."""

QUEUE_TIMEOUT = 3600.0
"""Seconds to wait for the first engine in a job."""


def deployment_for(
    engines: Any, n: int, settings: Settings, occupant: Occupancy, options: dict[str, Any]
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
    if engines == DIRECT:
        return DirectDeployment(fork_server_for(settings, n, stack="workers"), settings, occupant)
    if engines == "nbpar":
        return ForkedDeployment(fork_server_for(settings, n), settings, occupant)
    from nbpar.cluster.batch.jobs import Jobs
    from nbpar.cluster.remote.hosts import Hosts

    if isinstance(engines, (Hosts, Jobs)):
        if not can_fork():
            raise ClusterError(f"{engines} engines need a system with fork, which this one is not")
        local = fork_server_for(Settings(), n)
        if isinstance(engines, Hosts):
            from nbpar.cluster.remote.deployment import HostsDeployment

            return HostsDeployment(local, settings, occupant, engines)
        from nbpar.cluster.batch.deployment import JobsDeployment

        return JobsDeployment(local, settings, occupant, engines)
    from nbpar.cluster.launched.deployment import LaunchedDeployment

    return LaunchedDeployment(engines, options, settings, occupant)


def checked_kind(engines: Any, n: Any, options: dict[str, Any]) -> tuple[Any, Any, dict[str, Any], float]:
    """Return the kind and number of engines that are meant, their options, and seconds to wait for them.

    Raises:
        TypeError, ValueError, ClusterError: an option is unknown, or its value is not valid.
    """
    from nbpar.cluster.batch.jobs import Jobs, jobs_or_launcher
    from nbpar.cluster.launched.options import check_options
    from nbpar.cluster.remote.hosts import Hosts, hosts_of_options

    if isinstance(engines, str) and engines == "ssh":
        engines, options = hosts_of_options(n, options), {}
    engines, options = jobs_or_launcher(engines, options)
    if isinstance(engines, Hosts):
        n = engines.engines
    check_options(engines, options, own=isinstance(engines, (Hosts, Jobs)))
    return engines, n, options, QUEUE_TIMEOUT if isinstance(engines, Jobs) else START_TIMEOUT
