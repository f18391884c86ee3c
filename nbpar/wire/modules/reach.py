"""Find the user's modules that a function depends on, and their versions here.

A pickled function names every object that it does not contain, so its modules are those whose
names are in the pickle, and those they import from.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from functools import cache
from operator import is_
from pathlib import Path
from typing import Any, NamedTuple

from nbpar.host.ctrl_c import may_be_ctrl_c
from nbpar.host.processes import began_at
from nbpar.wire.modules.versions import OLDER, Versions, attribute, digest_of, neighbors
from nbpar.wire.pickling import Packed

Wanted = tuple[tuple[str, bytes], ...]
"""Modules and their versions."""

BRIEFLY = 1e-3
"""Seconds in which files are not looked at again for calls that follow each other."""


class _Recent(NamedTuple):
    """What a function reached a moment ago."""

    digest: bytes
    until: float
    modules: tuple[int, str]
    """Number of modules, and the last of them."""

    specs: list[Any]
    """Of those that it reached: each has another one after a reload."""

    found: Wanted


_NOTHING = _Recent(b"", 0.0, (0, ""), [], ())


class Reach:
    """Finds the modules of this process that functions use; thread-safe.

    Attributes:
        lock: guards `versions` and `carried`.
        carried: files of the modules that workers have asked for, by name.
    """

    def __init__(self, *, born: float = 0.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._recent = _NOTHING
        self.lock = threading.RLock()
        self.versions = Versions(born=born)
        self.carried: dict[str, str] = {}
        self._unloaded: dict[str, tuple[tuple[int, int], bytes]] = {}
        """Time, size and version of files of modules that this process has not imported."""

        self._neighbors: dict[str, tuple[Any, set[str]]] = {}

    def of(self, function: Packed) -> Wanted:
        """Return the modules that a function uses, with the versions that this process runs."""
        with self.lock:
            return tuple(sorted(self._reached(function).items()))

    def of_call(self, function: Packed, digest: bytes) -> Wanted:
        """Return the same for one of many calls, which may follow each other within microseconds.

        Files are not looked at for each of them.  Modules imported or reloaded meanwhile are seen.
        """
        with self.lock:
            recent, modules = self._recent, (len(sys.modules), next(reversed(sys.modules)))
            if recent.digest == digest and recent.modules == modules and self._clock() < recent.until:
                found = recent.found
                if all(map(is_, recent.specs, _specs(found))):
                    return found
            until = self._clock() + BRIEFLY
            found = self.of(function)
            self._recent = _Recent(digest, until, modules, _specs(found), found)
            return found

    def with_carried(self, function: Packed) -> Wanted:
        """Return also those that workers have asked for: items may use them."""
        with self.lock:
            found = self._reached(function)
            for name, file in self.carried.items():
                version = self.version(name, file)
                if name not in found and (version != OLDER or name in self.versions.files):
                    found[name] = version
            return tuple(sorted(found.items()))

    def version(self, name: str, file: str) -> bytes:
        """Return the version that this process runs, or would import; `OLDER` if unknown."""
        if name in self.versions.files:
            return self.versions.loaded(name)
        try:
            state = os.stat(file)  # noqa: PTH116 (once for each module and run)
            stamp = (state.st_mtime_ns, state.st_size)
            if self._unloaded.get(file, (None, OLDER))[0] != stamp:
                self._unloaded[file] = stamp, digest_of(Path(file).read_bytes())
        except OSError:
            return OLDER
        return self._unloaded[file][1]

    def _reached(self, function: Packed) -> dict[str, bytes]:
        files = self.versions.files
        found: dict[str, bytes] = {}
        pending = named(function.head, files)
        while pending:
            name = pending.pop()
            if name not in found and name in files:
                found[name] = self.versions.loaded(name)
                pending += self.neighbors_of(name, found[name])
        return found

    def neighbors_of(self, name: str, version: bytes) -> set[str]:
        """Return the user's modules whose objects an imported module of a known version has."""
        files = self.versions.files
        state = (version, len(files))
        known, found = self._neighbors.get(name, (None, set()))
        if known != state:
            try:
                found = neighbors(name) & files.keys()
            except BaseException as error:
                if may_be_ctrl_c(error):
                    raise
                found = set()  # it cannot be inspected
            self._neighbors[name] = (state, found)
        return found


def _specs(modules: Wanted) -> list[Any]:
    return [attribute(sys.modules.get(name), "__spec__") for name, _ in modules]


@cache
def reach_of_this_process() -> Reach:
    """Return the object that finds the user's modules of this process."""
    return Reach(born=began_at())


def named(head: bytes, names: Any) -> list[str]:
    """Return those of some names that occur in a pickle as whole strings."""
    return [name for name in names if _pickled_string(name) in head]


def _pickled_string(name: str) -> bytes:
    text = name.encode()
    return b"\x8c" + bytes([len(text)]) + text if len(text) < 256 else text
