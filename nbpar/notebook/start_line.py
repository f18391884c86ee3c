"""Parse what follows `%nbpar start`: a number of workers, and hosts to start them on."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from IPython.core.error import UsageError

FORM = "%nbpar start [N] [--ssh HOST[:N]]... [--python PYTHON] [--install]"

OPTIONS = ("--ssh", "--python", "--install")


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


def parse_start(arguments: list[str]) -> StartLine:
    """Return what the words after `%nbpar start` mean.

    Raises:
        UsageError: they mean nothing.
    """
    words = [part for word in arguments for part in _parts(word)]
    count, hosts, python, install = None, [], None, False
    while words:
        word = words.pop(0)
        if word == "--install":
            install = True
        elif word == "--ssh":
            hosts.append(_value(word, words))
        elif word == "--python":
            python = _value(word, words)
        elif count is None and word.isdecimal() and int(word) >= 1:
            count = int(word)
        else:
            known = ", ".join(OPTIONS)
            raise UsageError(
                f"expected one number of workers, from 1, or {known}, was {word!r}; write `{FORM}`"
            )
    if not hosts and (python or install):
        raise UsageError(f"--python and --install are for hosts, but there is no --ssh; write `{FORM}`")
    return StartLine(count, tuple(hosts), python, install)


def _parts(word: str) -> list[str]:
    name, equals, value = word.partition("=")
    return [name, value] if equals and name in OPTIONS else [word]


def _value(option: str, words: list[str]) -> str:
    if not words or words[0].startswith("-"):
        raise UsageError(f"{option} needs a value; write `{FORM}`")
    return words.pop(0)


def start_proposals(words: list[str], config: Path | None = None) -> list[str]:
    """The completions after `%nbpar start` and some words."""
    if words[-1:] == ["--ssh"]:
        return known_hosts(config)
    return [] if words[-1:] == ["--python"] else list(OPTIONS)


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
