"""Specs of gateways: `id=a//chdir=work//env:X=1//nice=5`.

The form is execnet's (its xspec.py): `key=value` joined by `//`, a key alone means True.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import NoneType

ELSEWHERE = ("ssh", "vagrant_ssh", "socket", "via", "python", "ssh_config", "installvia")
"""Keys that lead to another interpreter or host."""


@dataclass(frozen=True, slots=True)
class Spec:
    """The settings of a gateway."""

    id: str | None = None
    """Its name."""

    chdir: str | None = None
    """Folder that the worker changes to, created if missing."""

    nice: int | None = None
    """Decrease of the worker's priority."""

    env: dict[str, str] = field(default_factory=dict)
    """Variables for the worker."""

    @classmethod
    def of(cls, text: str | None) -> Spec:
        """Parse a spec.

        Raises:
            TypeError: it is not a string.
            ValueError: a key is unknown, occurs twice or has an invalid value.
        """
        if not isinstance(text, (str, NoneType)):
            raise TypeError(f'a spec is a text such as "id=a//nice=5", was {text!r:.60}')
        given: dict[str, str] = {}
        env: dict[str, str] = {}
        for part in (text or "").split("//"):
            key, _, value = part.partition("=")
            if key in given or (key.startswith("env:") and key[4:] in env):
                raise ValueError(f"{key!r} comes twice in the spec {text!r}")
            if key.startswith("env:"):
                env[key[4:]] = value
            elif key:
                given[key] = value
        if "" in env:
            raise ValueError(f"a variable in the spec {text!r} has no name; it is `env:NAME=value`")
        given.pop("popen", None)
        _check(given, text)
        return cls(given.get("id"), given.get("chdir"), niceness(given.get("nice"), text), env)

    @property
    def settles(self) -> bool:
        """Whether the worker must apply settings."""
        return bool(self.chdir or self.nice or self.env)


def niceness(said: str | None, text: str | None) -> int | None:
    """Return the niceness in a spec, if any.

    Raises:
        ValueError: it is not an integer.
    """
    try:
        return None if said is None else int(said)
    except ValueError:
        raise ValueError(f"nice in the spec {text!r} must be a whole number, was {said!r}") from None


def _check(given: dict[str, str], text: str | None) -> None:
    for key in given:
        if key in ELSEWHERE:
            raise ValueError(
                f"{key!r} in the spec {text!r} needs another interpreter or host; join a cluster there, "
                "`nbpar.Group(pool=nbpar.Pool(cluster=...))`, or use `nbpar.compat.execnet`"
            )
        if key not in ("id", "chdir", "nice"):
            raise ValueError(f"unknown key {key!r} in the spec {text!r}; known are id, chdir, nice, env:NAME")
        if not given[key]:
            raise ValueError(f"{key!r} in the spec {text!r} has no value; it is `{key}=...`")
