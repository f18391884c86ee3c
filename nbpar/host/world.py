"""Working directory, environment and import path of a process, for adoption by another one.

Workers in other processes start with those of the client.  Later changes there are sent
before each run, if there are any.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from nbpar.host.import_path import environment_folders


class Changes(NamedTuple):
    """Differences from the state when workers started, as plain values."""

    environ: dict[str, str | None] = {}  # noqa: RUF012 (never changed)
    """Environment variables by name; None for deleted ones."""

    directory: str | None = None
    """The working directory, if it has changed."""

    path: tuple[str, ...] = ()
    """Folders added to `sys.path`, in its order."""


NO_CHANGES = Changes()


class World:
    """State of this process when workers started; `changes` compares it with the current one.

    Args:
        kept: variables for which workers have values of their own; more of them may be added to it.
        stays: workers have a working directory of their own.
        forked: workers have all of `sys.path`; otherwise what every process of this interpreter has.
    """

    def __init__(self, kept: Collection[str] = (), *, stays: bool = False, forked: bool = True) -> None:
        self._kept = kept
        self._stays = stays
        self._environ = dict(_environ())
        self._directory = _directory()
        self._path = tuple(sys.path if forked else environment_folders())

    def changes(self) -> Changes:
        """Return the changes since then; takes microseconds if there are none."""
        directory = _directory()
        return Changes(
            {} if self._environ == (now := _environ()) else self._differences(now),
            None if self._stays or directory == self._directory else directory,
            () if self._path == tuple(sys.path) else tuple(_added(self._path)),
        )

    def _differences(self, now: Mapping[Any, Any]) -> dict[str, str | None]:
        before = self._environ
        changed: dict[Any, Any] = {name: value for name, value in now.items() if before.get(name) != value}
        changed.update(dict.fromkeys(before.keys() - now.keys()))
        decoded = ((_decoded(name), value) for name, value in changed.items())
        return {
            name: None if value is None else _decoded(value)
            for name, value in decoded
            if name not in self._kept
        }


class BorrowedWorld:
    """The changes of another process, in effect here until it sends others.

    Changes by the user's own code here stay, unless the other process changes the same again.
    """

    def __init__(self) -> None:
        self._applied = NO_CHANGES
        self._before: dict[str, str | None] = {}
        self._home = ""

    def apply(self, changes: Changes) -> str:
        """Apply the changes to this process; return the failures as text, "" if there are none."""
        if changes == self._applied:
            return ""
        before, self._applied = self._applied, changes
        self._set_environ(before.environ, changes.environ)
        if changes.path != before.path:
            kept = [folder for folder in sys.path if folder not in before.path]
            sys.path[:] = [*(folder for folder in changes.path if folder not in kept), *kept]
        return "" if changes.directory == before.directory else self._enter(changes.directory)

    def _set_environ(self, before: dict[str, str | None], now: dict[str, str | None]) -> None:
        for name in before.keys() - now.keys():
            set_variable(name, self._before.pop(name))
        for name, value in now.items():
            if name not in before:
                self._before[name] = os.environ.get(name)
            set_variable(name, value)

    def _enter(self, directory: str | None) -> str:
        self._home = self._home or _directory()
        try:
            os.chdir(self._home if directory is None else directory)
        except OSError as error:
            return (
                f"the working directory {directory!r} cannot be entered here ({error.strerror}), so items "
                f"run in {_directory()!r}; use full paths, or a folder that this worker has, too"
            )
        return ""


def _environ() -> Mapping[Any, Any]:
    """Return the environment as Python stores it, where possible as bytes, for a fast comparison."""
    return getattr(os.environ, "_data", os.environ)


def _decoded(text: str | bytes) -> str:
    return text if isinstance(text, str) else os.fsdecode(text)


def _added(before: tuple[str, ...]) -> list[str]:
    known = set(before)
    return [folder for folder in sys.path if isinstance(folder, str) and folder not in known]


def set_variable(name: str, value: str | None) -> None:
    """Set a variable of the environment; None removes it."""
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


def _directory() -> str:
    try:
        return os.getcwd()  # noqa: PTH109 (a path would only be made into text again)
    except OSError:  # it was deleted
        return ""
