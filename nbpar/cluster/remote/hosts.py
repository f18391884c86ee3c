"""The hosts of a cluster as users name them: "ann@gpu01:8", a list of such names, or a dict of numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nbpar.cluster.remote.multiplexer import SILENCE
from nbpar.errors import ClusterError

SHORTEST_SILENCE = 2.0
"""Seconds: a busy machine may pause for less."""

FORMS = 'write a host as "gpu01", "ann@gpu01", "gpu01:8" (8 engines) or "ssh://ann@gpu01:2222" (a port)'


@dataclass(frozen=True, slots=True)
class Host:
    """One host and its share of the engines."""

    name: str
    """Its name for `ssh`."""

    engines: int | None = None
    """Number of its engines; None: one for each CPU that is usable there."""

    python: str = ""
    """Its Python: a path, a command, or the name of an environment; "" for the first that fits."""


@dataclass(frozen=True, slots=True)
class Hosts:
    """The hosts of a cluster and the way to them."""

    hosts: tuple[Host, ...]
    """At least one, each once."""

    command: tuple[str, ...] = ("ssh",)
    """The ssh client, with options."""

    install: tuple[str, ...] | None = None
    """Packages of private environments that are made on hosts where no Python fits; None: none is made."""

    silence: float = SILENCE
    """Seconds without a sign of life after which a host is given up."""

    def __str__(self) -> str:
        return "ssh " + " ".join(host.name for host in self.hosts)

    __repr__ = __str__

    @property
    def engines(self) -> int:
        """Number of engines; a host without a number counts as one."""
        return sum(host.engines or 1 for host in self.hosts)


def parse_hosts(
    hosts: str | Iterable[str] | Mapping[str, int | None],
    n: int | None = None,
    python: str | Mapping[str, str] | None = None,
    command: str | Sequence[str] = ("ssh",),
    install: bool | Sequence[str] = False,
    silence: float = SILENCE,
) -> Hosts:
    """Return the hosts that the arguments of `Cluster.ssh` name.

    Args:
        hosts: names, with or without a number of engines, or a dict of numbers.
        n: number of engines on each host without a number.
        python: the Python of all hosts, or of some by name.
        command: the ssh client with its options.
        install: whether a private environment is made where no Python fits, or the packages of one.
        silence: seconds without a sign of life after which a host is given up.

    Raises:
        ClusterError: a name or number is invalid, a host is named twice, or none is.
    """
    named = (
        hosts.items()
        if isinstance(hosts, Mapping)
        else map(_split, [hosts] if isinstance(hosts, str) else hosts)
    )
    pythons = python if isinstance(python, Mapping) else {}
    found: dict[str, Host] = {}
    for name, number in named:
        _check_name(name)
        if name in found:
            raise ClusterError(
                f"the host {name!r} is named twice; give the number of its engines, as in {name}:16"
            )
        where = str(pythons.get(name, "") if isinstance(python, Mapping) else python or "")
        found[name] = Host(name, _checked(name, n if number is None else number), where)
    if not found:
        raise ClusterError(f"no host is named; {FORMS}")
    if strangers := sorted(set(pythons) - set(found)):
        raise ClusterError(f"python= names {strangers[0]!r}, which is none of the hosts {sorted(found)}")
    words = (command,) if isinstance(command, str) else tuple(command)
    if not words:
        raise ClusterError("the ssh command is empty")
    return Hosts(tuple(found.values()), words, _packages(install), _checked_silence(silence))


def _checked_silence(seconds: float) -> float:
    """Workers leave when they have heard nothing for SILENCE seconds: a host cannot be kept for longer."""
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(f"give_up_after must be a number of seconds, was {seconds!r}")
    if not SHORTEST_SILENCE <= seconds <= SILENCE:
        raise ClusterError(
            f"give_up_after must be between {SHORTEST_SILENCE:g} and {SILENCE:g} seconds, was {seconds!r}"
        )
    return float(seconds)


def _packages(install: bool | Sequence[str]) -> tuple[str, ...] | None:
    if isinstance(install, bool):
        return () if install else None
    if isinstance(install, str):
        raise TypeError(f"install must be True or a list of packages, was {install!r}")
    for package in install:
        if (
            not isinstance(package, str)
            or not package
            or package.startswith("-")
            or not package.isprintable()
        ):
            raise ClusterError(f"{package!r} in install= is no package; write one as in a requirements file")
    return tuple(install)


def hosts_of_options(n: int | None, options: dict[str, Any]) -> Hosts:
    """Return the hosts that `Cluster(n, engines="ssh", ...)` names.

    Args:
        n: number of all engines; hosts without a number share what is left by the others.
        options: `hosts`, `python`, `command`, `install` and `give_up_after` as of `Cluster.ssh`, or `config`,
            in which `SSHEngineSetLauncher` has `engines` and `remote_python`, as ipyparallel reads it.

    Raises:
        ClusterError: no host is named, or as `parse_hosts` does.
        TypeError: there are other options.
    """
    known = ("hosts", "python", "command", "install", "give_up_after", "config")
    if strangers := sorted(set(options) - set(known)):
        raise TypeError(f"Cluster(engines='ssh') takes {', '.join(known)}; it was given {strangers[0]!r}")
    section = (options.get("config") or {}).get("SSHEngineSetLauncher", {})
    hosts = options.get("hosts") or _of_ipyparallel(section.get("engines") or {})
    python = options.get("python") or section.get("remote_python") or None
    found = parse_hosts(
        hosts, None, python, options.get("command", ("ssh",)), options.get("install", False),
        options.get("give_up_after", SILENCE),
    )  # fmt: skip
    return found if n is None else _shared(found, n)


def _of_ipyparallel(engines: Mapping[str, Any]) -> dict[str, int]:
    """Numbers by host; ipyparallel allows `(number, arguments)`, too."""
    return {
        host: number[0] if isinstance(number, (tuple, list)) else number for host, number in engines.items()
    }


def _shared(hosts: Hosts, n: int) -> Hosts:
    """Share `n` engines among the hosts without a number, the first ones get one more."""
    free = [host for host in hosts.hosts if host.engines is None]
    left = n - sum(host.engines or 0 for host in hosts.hosts)
    if not free:
        return hosts
    if left < len(free):
        raise ClusterError(f"{n} engines are too few for these hosts; each needs one: {hosts}")
    shares = {host: left // len(free) + (place < left % len(free)) for place, host in enumerate(free)}
    return replace(hosts, hosts=tuple(replace(it, engines=it.engines or shares[it]) for it in hosts.hosts))


def _split(text: str) -> tuple[str, int | None]:
    """Split "ann@gpu01:8" into the name for ssh and the number."""
    if not isinstance(text, str):
        raise TypeError(f"a host must be a text, was {text!r}; {FORMS}")
    if text.startswith("ssh://"):
        return text, None
    name, colon, number = text.rpartition(":")
    if not colon or (":" in name and not name.endswith("]")):  # an IPv6 address without brackets
        return _without_brackets(text), None
    if not number.isdecimal():
        raise ClusterError(f"{number!r} in the host {text!r} is no number of engines; {FORMS}")
    return _without_brackets(name), int(number)


def _without_brackets(name: str) -> str:
    """The name as `ssh` takes it: an IPv6 address has brackets only where a number follows."""
    user, at, address = name.rpartition("@")
    if address.startswith("[") and address.endswith("]"):
        address = address[1:-1]
    return f"{user}{at}{address}"


def _check_name(name: str) -> None:
    if not isinstance(name, str):
        raise TypeError(f"a host must be a text, was {name!r}; {FORMS}")
    if not name or name.startswith("-") or any(c.isspace() or not c.isprintable() for c in name):
        raise ClusterError(f"{name!r} is no host name; {FORMS}")


def _checked(name: str, number: int | None) -> int | None:
    if number is None:
        return None
    if isinstance(number, bool) or not isinstance(number, int):
        raise TypeError(f"the number of engines on {name} must be an int, was {number!r}")
    if number < 1:
        raise ClusterError(f"the number of engines on {name} must be at least 1, was {number}")
    return number
