"""How many CPUs this process may use, and how many threads each engine's libraries get.

Eight engines whose BLAS starts eight threads each are slower than one; so engines are told
their share before they import anything.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "RAYON_NUM_THREADS",
    "POLARS_MAX_THREADS",
)
"""What the numerical libraries read, each at its first import."""


def usable_cpus() -> int:
    """The CPUs this process may use: affinity and the container's quota count; at least 1.

    A quota of 1.5 CPUs counts as 2: the half is usable.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    allowed = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    return max(1, min([allowed, *(math.ceil(quota) for quota in _quotas())]))


def thread_limits(engines: int, environment: Mapping[str, str], cpus: int | None = None) -> dict[str, str]:
    """The thread variables to add to `environment` for one of so many `engines` on this host.

    A limit that the user has set wins; `OMP_NUM_THREADS` alone speaks for every library,
    as those that do not know their own variable fall back to it.
    """
    if "OMP_NUM_THREADS" in environment:
        return {}
    share = max(1, (usable_cpus() if cpus is None else cpus) // max(1, engines))
    return {name: str(share) for name in THREAD_VARIABLES if name not in environment}


def free_descriptors() -> int | None:
    """How many more files and sockets this process may open, None where the system does not tell."""
    try:
        import resource

        used = sum(1 for _ in Path("/proc/self/fd").iterdir())
    except (ImportError, OSError):
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if limit == resource.RLIM_INFINITY else limit - used


def quota_of(cpu_max: str) -> float | None:
    """CPUs that a cgroup v2 `cpu.max` grants, None when it sets no bound.

    Example:
        >>> quota_of("150000 100000")
        1.5
    """
    fields = cpu_max.split()
    if len(fields) != 2 or fields[0] == "max" or not (fields[0].isdigit() and fields[1].isdigit()):
        return None
    return int(fields[0]) / int(fields[1]) if int(fields[0]) > 0 and int(fields[1]) > 0 else None


def _quotas() -> Iterator[float]:
    """Every CPU quota above this process, of cgroup v2 and v1."""
    for folder in _cgroup_folders():
        quota = quota_of(_read(folder / "cpu.max"))
        if quota is None:  # cgroup v1 says it in two files, with -1 for no bound
            quota = quota_of(f"{_read(folder / 'cpu.cfs_quota_us')} {_read(folder / 'cpu.cfs_period_us')}")
        if quota is not None:
            yield quota


def _cgroup_folders() -> Iterator[Path]:
    """The folders of this process's control groups, each with those above it."""
    root = Path("/sys/fs/cgroup")
    for line in _read(Path("/proc/self/cgroup")).splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        base = root / "cpu" if controllers else root
        inner = Path(path.lstrip("/"))
        yield from (base / folder for folder in (inner, *inner.parents))


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
