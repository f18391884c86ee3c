"""CPUs: how many may be used, and how long threads wait for one."""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing_extensions import Self


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def queued_seconds() -> float:
    """Return the seconds that this thread was ready to run without a CPU; 0.0 if the system does not tell.

    Throttling by a container's quota counts too (second field of /proc/<pid>/schedstat, in
    nanoseconds: Documentation/scheduler/sched-stats.rst of Linux).
    """
    try:
        return _queued(Path("/proc/thread-self/schedstat").read_bytes())
    except (OSError, IndexError, ValueError):
        return 0.0


class ThreadClock:
    """This thread's time, without the time it was ready to run but other processes had the CPUs.

    Linux reports how long a thread waited for a CPU; on other systems it is the ordinary time.
    """

    def __enter__(self) -> Self:
        self._file: int | None = None
        with suppress(OSError):
            self._file = os.open(f"/proc/self/task/{threading.get_native_id()}/schedstat", os.O_RDONLY)
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._file is not None:
            os.close(self._file)

    def running(self) -> float:
        """Running seconds since an arbitrary moment."""
        now = time.perf_counter()
        if self._file is None:
            return now
        return now - _queued(os.pread(self._file, 100, 0))


def _queued(schedstat: bytes) -> float:
    return int(schedstat.split()[1]) * 1e-9


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
"""Variables that numerical libraries read, each at its first import."""


class CpuLimit(NamedTuple):
    """A limit of the CPUs that this process may use."""

    number: float
    source: str
    """Where it comes from: `affinity`, `control group` or a variable of the environment."""


LIMIT_VARIABLES = ("CPU_LIMIT", "PYTHON_CPU_COUNT", "SLURM_CPUS_PER_TASK")
"""Variables in which JupyterHub, the user and Slurm tell how many CPUs a process may use."""

MOST_WORKERS_VARIABLE = "NBPAR_MAX_WORKERS"
"""The variable with the maximal number of workers where no number is asked for."""


def usable_cpus() -> int:
    """The number of CPUs available to this process, by the lowest of `cpu_limits`; at least 1.

    A quota of 1.5 CPUs counts as 2.
    """
    return max(1, math.ceil(min(limit.number for limit in cpu_limits(os.environ))))


class NumberOfWorkers(NamedTuple):
    """A number of workers that something sets."""

    number: int
    source: str
    """What sets it; "" if it is the number of usable CPUs."""


class WorkerSettings:
    """Default and cap of the number of workers in this process, as a shell's configuration sets them."""

    default: NumberOfWorkers | None = None
    cap: NumberOfWorkers | None = None


worker_settings = WorkerSettings()


def default_workers() -> int:
    """The number of workers where none is asked for: see `workers_by_default`."""
    return workers_by_default(os.environ).number


def workers_by_default(environment: Mapping[str, str]) -> NumberOfWorkers:
    """The number of workers where none is asked for, and what sets it.

    It is the configured default, else the usable CPUs, but no more than the configured cap and
    NBPAR_MAX_WORKERS.
    """
    found = worker_settings.default or NumberOfWorkers(usable_cpus(), "")
    told = number_in(environment, MOST_WORKERS_VARIABLE)
    variable = None if told is None else NumberOfWorkers(max(1, int(told)), MOST_WORKERS_VARIABLE)
    for cap in (worker_settings.cap, variable):
        if cap is not None and cap.number < found.number:
            found = cap
    return found


def cpu_limits(environment: Mapping[str, str]) -> list[CpuLimit]:
    """The limits of the CPUs that this process may use, the lowest first.

    Variables whose value is no number above 0 count for nothing.
    """
    limits = [CpuLimit(cores(), "affinity"), *(CpuLimit(quota, "control group") for quota in _quotas())]
    told = ((number_in(environment, name), name) for name in LIMIT_VARIABLES)
    return sorted([*limits, *(CpuLimit(number, name) for number, name in told if number is not None)])


def number_in(environment: Mapping[str, str], name: str, *, zero: bool = False) -> float | None:
    """Return the number in a variable; None if there is none above 0, or none that is 0 where that counts."""
    try:
        number = float(environment.get(name, ""))
    except ValueError:
        return None
    return number if 0 < number < math.inf or (zero and number == 0) else None


def thread_limits(engines: int, environment: Mapping[str, str], cpus: int | None = None) -> dict[str, str]:
    """The thread variables to add to `environment` for one of a number of `engines` on this host.

    A limit set by the user has priority; `OMP_NUM_THREADS` alone applies to every library,
    as those whose own variable is not set fall back to it.
    """
    if "OMP_NUM_THREADS" in environment:
        return {}
    share = max(1, (usable_cpus() if cpus is None else cpus) // max(1, engines))
    return {name: str(share) for name in THREAD_VARIABLES if name not in environment}


def quota_of(cpu_max: str) -> float | None:
    """CPUs granted by a cgroup v2 `cpu.max`, None for unlimited.

    Example:
        >>> quota_of("150000 100000")
        1.5
    """
    fields = cpu_max.split()
    if len(fields) != 2 or fields[0] == "max" or not (fields[0].isdigit() and fields[1].isdigit()):
        return None
    return int(fields[0]) / int(fields[1]) if int(fields[0]) > 0 and int(fields[1]) > 0 else None


def _quotas() -> Iterator[float]:
    """Every CPU quota of this process's control groups, of cgroup v2 and v1."""
    for folder in _cgroup_folders():
        quota = quota_of(_read(folder / "cpu.max"))
        if quota is None:  # cgroup v1 has it in two files, with -1 for unlimited
            quota = quota_of(f"{_read(folder / 'cpu.cfs_quota_us')} {_read(folder / 'cpu.cfs_period_us')}")
        if quota is not None:
            yield quota


def _cgroup_folders() -> Iterator[Path]:
    """The folders of this process's control groups, each with its ancestors."""
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


def has_gil() -> bool:
    """Whether this Python has a GIL."""
    return bool(getattr(sys, "_is_gil_enabled", lambda: True)())
