"""What a pool may ask of the engines that are started for it: their environment variables and devices."""

from __future__ import annotations

from typing import Any

from nbpar.cluster.deployments import own_variables
from nbpar.cluster.per_worker import PerWorker
from nbpar.core.checks import environment_variables

_ALL_ALIKE = {
    "threads": "threads are one process, which has one environment",
    "serial": "a serial pool runs in this process, which has one environment",
}


def check_own_engines(backend: str, cluster: Any, env: Any, gpus: Any, per_worker: Any) -> None:
    """Raise if what only engines have is asked of other workers, or in vain.

    Raises:
        TypeError, ValueError: it is; or `env` is no dict of variables.
    """
    if env is not None:
        environment_variables("env", env)
        if cluster is not None or backend != "engines":
            what = (
                f"{backend!r} workers have that of this process"
                if cluster is None
                else "give it to the cluster, as in `Cluster(env=...)`"
            )
            raise ValueError(f"env= is the environment of engines that are started for this pool; {what}")
    for name, value in (("gpus", gpus), ("per_worker", per_worker)):
        if value is None:
            continue
        if backend != "engines":
            raise ValueError(
                f'{name}= gives each worker an environment of its own, which needs backend="engines": '
                f"{_ALL_ALIKE[backend]}, also for the devices that libraries see"
            )
        if cluster is not None:
            raise ValueError(
                f"{name}= is for engines that are started for this pool, before they import anything; those "
                f"of a cluster run already: give it to the cluster, as in `Cluster({name}=...)`"
            )
    if cluster is not None and backend != "engines":
        raise ValueError(f'cluster= needs backend="engines", not {backend!r}')


def variables_of_engines(
    workers: int | None, gpus: Any, per_worker: Any, env: Any
) -> tuple[int, PerWorker | None]:
    """Return the number of a pool's own engines, and the variables that each has for itself.

    Raises:
        TypeError, ValueError: they are not valid, or there are no such devices.
    """
    return own_variables(workers, "nbpar", gpus, per_worker, env)
