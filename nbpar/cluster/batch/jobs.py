"""The jobs of a cluster as users describe them: a batch system, and what each engine needs."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import timedelta
from difflib import get_close_matches
from typing import Any

from nbpar.cluster.batch.systems import SYSTEMS, JobDescription, seconds_of
from nbpar.cluster.launched.options import OWN_OPTIONS
from nbpar.cluster.remote.hosts import ssh_words
from nbpar.core.checks import check_text, whole_number
from nbpar.core.text import short
from nbpar.errors import ClusterError

OPTIONS = (
    "time",
    "partition",
    "memory",
    "gpus",
    "cpus",
    "account",
    "extra",
    "host",
    "python",
    "command",
    "run_folder",
)
"""Options of jobs, besides those of every cluster."""

IPYPARALLEL_OPTIONS = ("config", "controller", "controller_ip", "profile", "profile_dir", "cluster_id")
"""Options with which a batch system's name means ipyparallel's own launcher."""

TIME_FORMS = 'write "1:30:00" (hours, minutes, seconds), "2-12:00:00" (with days), or a number of seconds'

_MEMORY = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[KMGT])i?B?", re.IGNORECASE)

_MEGABYTES = {"K": 1 / 1024, "M": 1, "G": 1024, "T": 1024 * 1024}


@dataclass(frozen=True, slots=True)
class Jobs:
    """The kind of jobs that engines are: one engine in each job."""

    system: str
    """"slurm", "pbs", "lsf" or "sge"."""

    description: JobDescription
    """What each of them asks for."""

    host: str | None = None
    """The login node as `ssh` names it; None: this machine is one."""

    python: str = ""
    """The Python of the nodes: a path, a command, or the name of an environment; "" for one like this."""

    command: tuple[str, ...] = ("ssh",)
    """The ssh client with its options."""

    run_folder: str = ""
    """A folder that the nodes share with the login node; "" for one in the user's cache."""

    def __str__(self) -> str:
        return self.system if self.host is None else f"{self.system} on {self.host}"

    __repr__ = __str__

    @property
    def title(self) -> str:
        """Name of the batch system, for messages."""
        return SYSTEMS[self.system].title

    def facts(self) -> dict[str, Any]:
        """The system and the description, for the login node."""
        return {"system": self.system, "description": asdict(self.description)}


def jobs_of_options(system: str, options: dict[str, Any]) -> Jobs:
    """Return the jobs that `Cluster.slurm`, or `Cluster(engines="pbs", ...)`, describes.

    Raises:
        ClusterError: a value is not valid.
        TypeError: an option is unknown, or a value has a wrong type.
    """
    for name in options:
        if name not in OPTIONS:
            near = get_close_matches(name, (*OPTIONS, *OWN_OPTIONS, *IPYPARALLEL_OPTIONS), n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(OPTIONS)}"
            raise TypeError(f"unknown option {name!r} of {system} jobs; {hint}")
    return Jobs(
        system,
        JobDescription(
            seconds=_seconds(options.get("time")),
            queue=_word("partition", options.get("partition")),
            megabytes=_megabytes(options.get("memory")),
            gpus=_gpus(options.get("gpus")),
            cpus=_number("cpus", options.get("cpus", 1)),
            account=_word("account", options.get("account")),
            extra=_extra(options.get("extra") or ()),
        ),
        _word("host", options.get("host")) or None,
        _word("python", options.get("python")),
        ssh_words(options.get("command", "ssh")),
        _line("run_folder", options.get("run_folder")),
    )


def jobs_or_launcher(engines: Any, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return jobs if that is what `Cluster(engines="slurm", ...)` means; else what was given.

    Options of ipyparallel's mean its own launcher.

    Raises:
        ClusterError, TypeError: as `jobs_of_options` does.
    """
    named = isinstance(engines, str) and engines in SYSTEMS
    if not named or any(name in IPYPARALLEL_OPTIONS for name in options):
        return engines, options
    return jobs_of_options(engines, options), {}


def _seconds(time: str | float | timedelta | None) -> int:
    """Whole seconds of a time limit, 0 for none."""
    if time is None:
        return 0
    if isinstance(time, timedelta):
        time = time.total_seconds()
    if isinstance(time, (int, float)) and not isinstance(time, bool):
        seconds = math.ceil(time) if math.isfinite(time) else 0
    elif isinstance(time, str):
        if (found := seconds_of(time)) is None:
            raise ClusterError(f"{time!r} is no time limit; {TIME_FORMS}")
        seconds = found
    else:
        raise TypeError(f"time must be a text, a number of seconds or a timedelta, was {time!r}")
    if seconds <= 0:
        raise ClusterError(f"the time limit must be longer than 0 s, was {time!r}; {TIME_FORMS}")
    return seconds


def _megabytes(memory: str | None) -> int:
    if memory is None:
        return 0
    if not isinstance(memory, str):
        raise TypeError(f'memory must be a text with a unit, such as "4G", was {memory!r}')
    found = _MEMORY.fullmatch(memory.strip())
    if found is None or float(found["number"]) <= 0:
        raise ClusterError(f'{memory!r} is no amount of memory; write "4G" or "500M"')
    return math.ceil(float(found["number"]) * _MEGABYTES[found["unit"].upper()])


def _gpus(gpus: int | str | None) -> str:
    """The number of GPUs, perhaps with their type: "2", "a100:2"; "" for none."""
    if gpus is None or gpus == 0:
        return ""
    if isinstance(gpus, str):
        if not re.fullmatch(r"(?:[\w.-]+:)?[1-9]\d*", gpus):
            raise ClusterError(f'{gpus!r} is no number of GPUs; write 2, or "a100:2" with their type')
        return gpus
    return str(_number("gpus", gpus))


def _number(name: str, value: Any) -> int:
    number = whole_number(name, value)
    if number < 1:
        raise ClusterError(f"{name} must be at least 1, was {number}")
    return number


def _word(name: str, value: Any) -> str:
    text = _line(name, value)
    if any(character.isspace() for character in text) or text.startswith("-"):
        raise ClusterError(f"{name} must be one word, was {value!r}")
    return text


def _line(name: str, value: Any) -> str:
    """A text that fits on a line of a script, "" for None."""
    if value is None:
        return ""
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"{name} must be None or a text, was {short(value)}")
    text = str(value)
    if not text or not text.isprintable():
        raise ClusterError(f"{name} must be a text of one line, was {value!r}")
    return text


def _extra(extra: Any) -> tuple[str, ...]:
    if isinstance(extra, (str, bytes)) or not isinstance(extra, Iterable):
        raise TypeError(f'extra must be a list of options, such as ["--constraint=ib"], was {short(extra)}')
    options = tuple(extra)
    for option in options:
        check_text("an option in extra", option)
    return tuple(_line("an option in extra", option) for option in options)
