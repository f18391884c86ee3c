"""The hosts of a cluster as users name them: "ann@gpu01:8", a list of such names, or a dict of numbers."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from nbpar.cluster.remote import SILENCE
from nbpar.core.checks import at_least, whole_number
from nbpar.core.text import short
from nbpar.errors import ClusterError
from nbpar.host.deadlines import real_number

SHORTEST_SILENCE = 2.0
"""Seconds: a busy machine may pause for less."""

URL = "ssh://"
"""How the URL of a host begins."""

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
        TypeError: an argument is of the wrong kind.
        ClusterError: a name or number is invalid, a host is named twice, or none is.
    """
    named = _named(hosts)
    n = None if n is None else at_least(1, "n", n, "None or ")
    _check_python(python)
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
    return Hosts(tuple(found.values()), ssh_words(command), _packages(install), _checked_silence(silence))


def _named(hosts: Any) -> Iterable[tuple[str, int | None]]:
    """The hosts' names and numbers of engines; None: no number of its own."""
    if isinstance(hosts, Mapping):
        return hosts.items()
    if isinstance(hosts, str):
        return [_split(hosts)]
    if isinstance(hosts, bytes) or not isinstance(hosts, Iterable):
        raise TypeError(f"hosts must be a host, a list or a dict of hosts, was {short(hosts)}; {FORMS}")
    return map(_split, hosts)


def _check_python(python: Any) -> None:
    given = python.values() if isinstance(python, Mapping) else [python]
    for one in given:
        if one is not None and not isinstance(one, (str, os.PathLike)):
            raise TypeError(
                "python must be None, a path, a command or the name of an environment, or a dict of these by "
                f"host, had {short(one)}"
            )


def ssh_words(command: Any) -> tuple[str, ...]:
    """Return the words of an ssh client's command: a text is one word.

    Raises:
        TypeError, ClusterError: it is no command; the message says what is allowed.
    """
    if isinstance(command, (bytes, Mapping)) or not isinstance(command, Iterable):
        raise TypeError(f'command must be a text as "ssh", or a list of its words, was {short(command)}')
    words = (command,) if isinstance(command, str) else tuple(command)
    for word in words:
        if not isinstance(word, (str, os.PathLike)):
            raise TypeError(f"command must be a list of texts, had {short(word)}")
    if not words or not str(words[0]):
        raise ClusterError('command is empty; write the ssh client, as "ssh" or ["ssh", "-p", "2222"]')
    return tuple(map(str, words))


def _checked_silence(seconds: Any) -> float:
    """Workers leave when they have heard nothing for SILENCE seconds: a host cannot be kept for longer."""
    number = real_number(seconds)
    if number is None:
        raise TypeError(f"give_up_after must be a number of seconds, was {short(seconds)}")
    if not SHORTEST_SILENCE <= number <= SILENCE:
        raise ClusterError(
            f"give_up_after must be from {SHORTEST_SILENCE:g} to {SILENCE:g} seconds, was {short(seconds)}"
        )
    return number


def _packages(install: Any) -> tuple[str, ...] | None:
    if isinstance(install, bool):
        return () if install else None
    if isinstance(install, (str, bytes)) or not isinstance(install, Iterable):
        hint = f"; write `[{install!r}]`" if isinstance(install, str) else ""
        raise TypeError(f"install must be True, False or a list of packages, was {short(install)}{hint}")
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
    config = options.get("config") or {}
    if not isinstance(config, Mapping):
        raise TypeError(f"config must be a traitlets Config or a dict, was {short(config)}")
    section = config.get("SSHEngineSetLauncher", {})
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
    if text.startswith(URL):
        return _checked_url(text), None
    name, colon, number = text.rpartition(":")
    if not colon or (":" in name and not name.endswith("]")):  # an IPv6 address without brackets
        return _without_brackets(text), None
    if not number.isdecimal():
        raise ClusterError(f"{number!r} in the host {text!r} is no number of engines; {FORMS}")
    return _without_brackets(name), int(number)


def _checked_url(url: str) -> str:
    """The URL as `ssh` takes it, with a host and perhaps a port."""
    try:
        parts = urlsplit(url)
        valid = parts.hostname and parts.port != 0 and not (parts.query or parts.fragment)
    except ValueError:  # the port is no number from 0 to 65535
        valid = False
    if not valid or parts.path.strip("/"):
        raise ClusterError(f"{url!r} names no host, or has more than a port; {FORMS}")
    return url


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
    number = whole_number(f"the number of engines on {name}", number)
    if number < 1:
        raise ClusterError(f"the number of engines on {name} must be at least 1, was {number}")
    return number
