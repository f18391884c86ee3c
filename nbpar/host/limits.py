"""What the processes of this host, or of this job, may use together."""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path
from typing import NamedTuple

from nbpar.host.cpus import usable_cpus
from nbpar.host.machine import machine
from nbpar.host.memory import whole_memory

JOB_VARIABLES = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID")
"""Variables in which batch systems tell the job of a process."""


class HostLimits(NamedTuple):
    """The limits of the processes that share them."""

    share: str
    """Equal for the processes that share them: of one machine, control group and job."""

    memory: int
    """Bytes: the machine's, or the least that a control group or `MEM_LIMIT` sets."""

    cores: int
    """The least of affinity, control groups' quotas, and what JupyterHub, Slurm or the user say."""


def limits_here() -> HostLimits:
    """Return the limits of this process."""
    try:
        group = Path("/proc/self/cgroup").read_text()
    except OSError:
        group = ""
    jobs = (os.environ.get(name, "") for name in JOB_VARIABLES)
    place = "\n".join((machine() or platform.node(), group, *jobs))
    return HostLimits(hashlib.sha256(place.encode()).hexdigest()[:16], whole_memory(), usable_cpus())
