"""Refuse names and options that ipyparallel would take in silence, and keep what launchers say in errors."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from nbpar.cluster.launched.guarded import command
from nbpar.core.text import short
from nbpar.errors import ClusterError

OWN_OPTIONS = ("n", "engines", "preload", "env", "cwd", "nice", "start_timeout", "heal", "files", "hosts")
"""Options of nbpar's own."""

OF_SSH = ("hosts", "install", "give_up_after")
"""Those of engines that are started through ssh."""

ALIASES = ("controller", "config", "parent")
"""Further arguments of `ipyparallel.Cluster`, besides its traits."""

_BATCH = {
    "SlurmLauncher": ("sbatch", "scancel"),
    "PBSLauncher": ("qsub", "qdel"),
    "SGELauncher": ("qsub", "qdel"),
}
"""Commands of ipyparallel's batch launchers that submit and delete jobs."""


_KEEP = ("/bin/sh", "-c", 'exec "$0" "$@" 2>&1')
"""Begins a command that writes to its output what it would write to the terminal."""

_PREFIX = f"{' '.join(_KEEP)} "


def check_options(engines: Any, options: Collection[str], *, own: bool) -> None:
    """Check the options that `Cluster` does not know; `own`: nbpar itself starts such engines.

    Raises:
        TypeError: an option is unknown, or of no use; or as of `check_launcher`.
        ValueError: as of `check_launcher`.
    """
    if own:
        check_spelling(options)
    else:
        check_launcher(engines, options)
    if options and (own or engines == "nbpar"):
        names = ", ".join(map(repr, options))
        raise TypeError(f"Cluster() takes {names} only for ipyparallel's launchers, as in engines='slurm'")


def check_launcher(engines: Any, options: Collection[str]) -> None:
    """Check a launcher's name, and names of options for `ipyparallel.Cluster`.

    Raises:
        TypeError: an option is unknown, or the launcher is neither a name nor a class of launchers.
        ValueError: the launcher is unknown.
    """
    for option in options:
        if option in OF_SSH:
            raise TypeError(
                f'{option}= needs engines="ssh", as in `Cluster(8, engines="ssh", hosts=["gpu01"])`; '
                'or write `Cluster.ssh({"gpu01": 4, "gpu02": 4})`'
            )
    check_spelling(options)
    if not isinstance(engines, (str, type)):
        raise TypeError(
            f'engines must be "nbpar", "ssh", the name of one of ipyparallel\'s launchers or its class, '
            f"was {short(engines)}"
        )
    if engines == "nbpar" or (engines == "local" and not options):
        return
    _check_launcher(engines)
    from ipyparallel import Cluster

    known = {*Cluster.class_trait_names(), *ALIASES}
    for option in options:
        if option not in known:
            raise TypeError(f"unknown option {option!r}; {_nearest(option, [*OWN_OPTIONS, *known])}")


def check_spelling(options: Collection[str]) -> None:
    """Refuse an option that is nearly one of nbpar's.

    Raises:
        TypeError: it is; the message has the right one.
    """
    for option in options:
        if near := get_close_matches(option, [*OWN_OPTIONS, "python", "command", *OF_SSH], n=1, cutoff=0.75):
            raise TypeError(f"unknown option {option!r}; did you mean {near[0]!r}?")


def words_of(error: BaseException) -> str:
    """Return an error's text, with what the process has said that caused it."""
    if not isinstance(error, subprocess.CalledProcessError):
        return str(error)
    command = error.cmd if isinstance(error.cmd, str) else " ".join(map(str, error.cmd)).removeprefix(_PREFIX)
    said = b"\n".join(_bytes(part).strip() for part in (error.output, error.stderr) if part)
    ended = f"`{command}` ended with exit code {error.returncode}"
    return f"{ended}: {said.decode(errors='replace')}" if said else ended


def batch_files(folder: Path) -> Mapping[str, Mapping[str, str]]:
    """Return settings by which batch launchers write their scripts to a folder, not to the current one."""
    systems = ("Slurm", "PBS", "SGE", "LSF", "HTCondor")
    return {
        f"{system}EngineSetLauncher": {"batch_file_name": str(folder / f"{system}-engines")}
        for system in systems
    }


def guard_mpi(config: Any, engines: Any) -> None:
    """Let `mpiexec` end with this process, whose end its ranks would not notice.

    Raises:
        ClusterError: it is not installed.
    """
    if not isinstance(engines, str) or engines.lower() != "mpi" or os.name != "posix":
        return
    program = [*(config.MPILauncher.get("mpi_cmd") or ["mpiexec"])]
    if shutil.which(program[0]) is None:
        raise ClusterError(f"there is no command {program[0]!r} here; install Open MPI or MPICH")
    config.MPILauncher.mpi_cmd = [*command("program"), *program]


def quiet_commands() -> Mapping[str, Mapping[str, list[str]]]:
    """Return settings by which batch launchers keep what their commands say; it would be printed."""
    if os.name != "posix":
        return {}
    return {
        launcher: {"submit_command": [*_KEEP, submit], "delete_command": [*_KEEP, delete]}
        for launcher, (submit, delete) in _BATCH.items()
    }


def _check_launcher(engines: str | type) -> None:
    if isinstance(engines, str) and "." not in engines:
        _check_name(engines)
        return
    from ipyparallel.cluster.launcher import BaseLauncher
    from traitlets.utils.importstring import import_item

    try:
        kind = import_item(engines) if isinstance(engines, str) else engines
    except ImportError as error:
        raise ValueError(f"engines={engines!r} cannot be imported: {error}") from error
    if not (isinstance(kind, type) and issubclass(kind, BaseLauncher)):
        raise TypeError(f"engines must be a launcher of ipyparallel, a BaseLauncher, was {short(kind)}")


def _check_name(name: str) -> None:
    from importlib.metadata import entry_points

    from ipyparallel.cluster import launcher

    known = sorted({entry.name for entry in entry_points(group="ipyparallel.engine_launchers")})
    if name.lower() not in known and not hasattr(launcher, name):
        raise ValueError(f"unknown kind of engines {name!r}; {_nearest(name, known)}")


def _nearest(name: str, known: Iterable[str]) -> str:
    if near := get_close_matches(name.lower(), known, n=2, cutoff=0.6):
        return f"did you mean {' or '.join(map(repr, near))}?"
    return f"there are {', '.join(sorted(map(str, known)))}"


def _bytes(text: Any) -> bytes:
    return text if isinstance(text, bytes) else str(text).encode()
