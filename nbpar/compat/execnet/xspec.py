"""execnet's specs, with its rules (its xspec.py)."""

from __future__ import annotations

from typing import Any

from nbpar.core.text import short


class XSpec:
    """`key=value//key=value`; a key alone means True, `env:NAME=value` collects in `env`.

    Unknown keys are allowed; missing attributes are None.
    """

    chdir: Any = None
    dont_write_bytecode: Any = None
    execmodel: Any = None
    id: Any = None
    installvia: Any = None
    nice: Any = None
    popen: Any = None
    python: Any = None
    socket: Any = None
    ssh: Any = None
    ssh_config: Any = None
    vagrant_ssh: Any = None
    via: Any = None

    def __init__(self, string: str) -> None:
        if not isinstance(string, str):
            raise TypeError(f'a spec is a text such as "popen//id=a", was {short(string)}')
        self._spec = string
        self.env: dict[str, str] = {}
        for part in string.split("//"):
            key, equals, given = part.partition("=")
            value: Any = given if equals else True
            if key.startswith("_"):
                raise AttributeError(f"{key!r} not a valid XSpec key")
            if key in self.__dict__:
                raise ValueError(f"duplicate key: {key!r} in {string!r}")
            if key.startswith("env:"):
                self.env[key[4:]] = value
            else:
                setattr(self, key, value)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return None

    def _samefilesystem(self) -> bool:
        return self.popen is not None and self.chdir is None

    def __repr__(self) -> str:
        return f"<XSpec {self._spec!r}>"

    def __str__(self) -> str:
        return self._spec

    def __hash__(self) -> int:
        return hash(self._spec)

    def __eq__(self, other: object) -> bool:
        return self._spec == getattr(other, "_spec", None)
