"""Parse what follows `%nbpar start`: a number of workers, and hosts to start them on."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from IPython.core.error import UsageError

FORM = "%nbpar start [N] [--gpus auto|N|IDS] [--idle MIN] [--ssh HOST[:N]]... [--python PYTHON] [--install]"

OPTIONS = ("--gpus", "--idle", "--ssh", "--python", "--install")


@dataclass(frozen=True, slots=True)
class StartLine:
    """What is to be started."""

    count: int | None = None
    """Number of workers; with hosts, on each one without a number of its own."""

    hosts: tuple[str, ...] = ()
    """Hosts as `Cluster.ssh` takes them; none for this machine."""

    python: str | None = None
    """The Python of the hosts."""

    install: bool = False
    """Whether an environment is made there where no Python fits."""

    idle: float | None = None
    """Minutes without work after which workers of this machine end, 0: never; None: as before."""

    gpus: str | int | tuple[str, ...] | None = None
    """The devices for workers of this machine, as `Pool` takes them; None for none of their own."""


def parse_start(arguments: list[str]) -> StartLine:
    """Return what the words after `%nbpar start` mean.

    Raises:
        UsageError: they mean nothing.
    """
    words = [part for word in arguments for part in _parts(word)]
    count, hosts, install, given = None, [], False, dict[str, Any]()
    while words:
        word = words.pop(0)
        if word == "--install":
            install = True
        elif word == "--ssh":
            hosts.append(_value(word, words))
        elif word in _VALUES:
            given[word.removeprefix("--")] = _VALUES[word](_value(word, words))
        elif count is None and word.isdecimal() and int(word) >= 1:
            count = int(word)
        else:
            known = ", ".join(OPTIONS)
            raise UsageError(
                f"expected one number of workers, from 1, or {known}, was {word!r}; write `{FORM}`"
            )
    line = StartLine(count, tuple(hosts), install=install, **given)
    _check_place(line)
    return line


def _check_place(line: StartLine) -> None:
    """Refuse what is meant for hosts where there are none, and the other way round."""
    if not line.hosts and (line.python or line.install):
        raise UsageError(f"--python and --install are for hosts, but there is no --ssh; write `{FORM}`")
    if line.hosts and line.idle is not None:
        raise UsageError(
            f"--idle is for workers of this machine; for hosts: `nbpar.Cluster.adapt`; write `{FORM}`"
        )
    if line.hosts and line.gpus is not None:
        raise UsageError(
            "--gpus is for workers of this machine; on hosts each engine gets its device by a cluster's "
            "`per_worker=`, see the guide's page on devices"
        )


def _devices(text: str) -> str | int | tuple[str, ...]:
    """Return the devices that are meant: `auto`, a number of them, or names between commas."""
    if text == "auto":
        return text
    return int(text) if text.isdecimal() else tuple(filter(None, text.split(",")))


def _parts(word: str) -> list[str]:
    name, equals, value = word.partition("=")
    return [name, value] if equals and name in OPTIONS else [word]


def _minutes(word: str) -> float:
    with suppress(ValueError):
        if 0 <= (minutes := float(word)) < math.inf:
            return minutes
    raise UsageError(f"--idle needs a number of minutes, 0 for never, was {word!r}; write `{FORM}`")


_VALUES: dict[str, Callable[[str], Any]] = {"--gpus": _devices, "--idle": _minutes, "--python": str}
"""What the values of options mean."""


def _value(option: str, words: list[str]) -> str:
    if not words or words[0].startswith("-"):
        raise UsageError(f"{option} needs a value; write `{FORM}`")
    return words.pop(0)


def start_proposals(words: list[str], config: Path | None = None) -> list[str]:
    """The completions after `%nbpar start` and some words."""
    if words[-1:] == ["--ssh"]:
        return known_hosts(config)
    if words[-1:] == ["--gpus"]:
        return ["auto"]
    return [] if words[-1:] in (["--python"], ["--idle"]) else list(OPTIONS)


def known_hosts(config: Path | None = None) -> list[str]:
    """The hosts that the user's ssh configuration names, without patterns."""
    names: list[str] = []
    with suppress(OSError, RuntimeError):  # no such file, no home
        path = config or Path.home() / ".ssh" / "config"
        for line in path.read_text(errors="replace").splitlines():
            key, *values = line.replace("=", " ").split() or [""]
            if key.lower() == "host":
                names += [name for name in values if not set(name) & set("*?!")]
    return list(dict.fromkeys(names))
