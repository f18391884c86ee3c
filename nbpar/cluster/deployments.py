"""The deployment for each kind of engines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nbpar.cluster.base import Deployment, Settings
from nbpar.cluster.direct import DirectDeployment
from nbpar.cluster.fork_server.server import can_fork, fork_server_for
from nbpar.cluster.forked import ForkedDeployment
from nbpar.cluster.ownership import Occupancy
from nbpar.cluster.per_worker import PerWorker, per_worker_of
from nbpar.errors import ClusterError
from nbpar.host.cpus import default_workers

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


def checked_kind(
    engines: Any, n: Any, options: dict[str, Any], gpus: Any = None
) -> tuple[Any, Any, dict[str, Any], float]:
    """Return the kind and number of engines that are meant, their options, and seconds to wait for them.

    Jobs ask for `gpus` themselves.

    Raises:
        TypeError, ValueError, ClusterError: an option is unknown, or its value is not valid.
    """
    from nbpar.cluster.batch.jobs import Jobs, jobs_or_launcher
    from nbpar.cluster.launched.options import check_options
    from nbpar.cluster.remote.hosts import Hosts, hosts_of_options

    if isinstance(engines, str) and engines == "ssh":
        engines, options = hosts_of_options(n, options), {}
    jobs, left = jobs_or_launcher(engines, options if gpus is None else {**options, "gpus": gpus})
    engines, options = (jobs, left) if jobs is not engines else (engines, options)
    if isinstance(engines, Hosts):
        n = engines.engines
    check_options(engines, options, own=isinstance(engines, (Hosts, Jobs)))
    return engines, n, options, QUEUE_TIMEOUT if isinstance(engines, Jobs) else START_TIMEOUT


def own_variables(
    n: int | None, engines: Any, gpus: Any, per_worker: Any, env: Mapping[str, str] | None
) -> tuple[int, PerWorker | None]:
    """Return the number of engines, and the variables of each, for a kind that `checked_kind` has returned.

    Without a number there is one engine for each device or dict of variables, else for each CPU.

    Raises:
        TypeError, ValueError: as of `per_worker_of`; or engines of this kind cannot have variables of their
            own, or there are not as many of them.
    """
    if gpus is None and per_worker is None:
        return default_workers() if n is None else n, None
    from nbpar.cluster.batch.jobs import Jobs
    from nbpar.cluster.remote.hosts import Hosts

    here = engines == "nbpar" and can_fork()
    if isinstance(engines, Jobs):
        gpus = None  # each job has asked for its own
    elif gpus is not None and not here:
        raise ValueError(
            f"gpus= gives out the devices of this host to engines that nbpar forks here, not to "
            f'{_kind(engines)}; on other hosts `per_worker=lambda i: {{"CUDA_VISIBLE_DEVICES": str(i % 2)}}` '
            "names the devices, and jobs ask for them, as in `Cluster.slurm(4, gpus=1)`"
        )
    if per_worker is not None and not (here or isinstance(engines, (Hosts, Jobs))):
        raise ValueError(
            f"per_worker= is for engines that nbpar itself starts, here, on hosts or in jobs, not for "
            f"{_kind(engines)}, whose launcher gives all the same variables; set them in an initializer"
        )
    each = per_worker_of(gpus, per_worker, env)
    number = n or (each and each.number) or default_workers()
    if each is not None and not (n is None and isinstance(engines, Hosts)):  # which say how many they have
        each.check(number, exact=True)
    return number, each


def _kind(engines: Any) -> str:
    if engines == "nbpar":
        return "this system, which cannot fork"
    return f"engines={engines!r}" if isinstance(engines, str) else str(engines)
