"""Refuse names and options that ipyparallel would take in silence, and keep what launchers say in errors."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from typing import Any

OWN_OPTIONS = ("n", "engines", "preload", "env", "cwd", "nice", "start_timeout", "heal", "hosts")
"""Options of nbpar's own."""

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


def check_launcher(engines: Any, options: Collection[str]) -> None:
    """Check a launcher's name, and names of options for `ipyparallel.Cluster`.

    Raises:
        TypeError: an option is unknown.
        ValueError: the launcher is unknown.
    """
    for option in options:
        if near := get_close_matches(option, OWN_OPTIONS, n=1, cutoff=0.75):
            raise TypeError(f"unknown option {option!r}; did you mean {near[0]!r}?")
    if engines == "nbpar" or (engines == "local" and not options):
        return
    if isinstance(engines, str) and "." not in engines:  # with a dot it is the path of a class
        _check_name(engines)
    from ipyparallel import Cluster

    known = {*Cluster.class_trait_names(), *ALIASES}
    for option in options:
        if option not in known:
            raise TypeError(f"unknown option {option!r}; {_nearest(option, [*OWN_OPTIONS, *known])}")


def words_of(error: BaseException) -> str:
    """Return an error's text, with what the process has said that caused it."""
    if not isinstance(error, subprocess.CalledProcessError):
        return str(error)
    command = error.cmd if isinstance(error.cmd, str) else " ".join(map(str, error.cmd)).removeprefix(_PREFIX)
    said = b"\n".join(_bytes(part).strip() for part in (error.output, error.stderr) if part)
    ended = f"`{command}` ended with exit code {error.returncode}"
    return f"{ended}: {said.decode(errors='replace')}" if said else ended


def quiet_commands() -> Mapping[str, Mapping[str, list[str]]]:
    """Return settings by which batch launchers keep what their commands say; it would be printed."""
    if os.name != "posix":
        return {}
    return {
        launcher: {"submit_command": [*_KEEP, submit], "delete_command": [*_KEEP, delete]}
        for launcher, (submit, delete) in _BATCH.items()
    }


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
