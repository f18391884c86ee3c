"""Find the user's modules that a function reaches, and which versions of them this process runs.

A pickled function names everything that it does not carry, so its modules are those whose
names stand in the pickle, and whatever those have taken from other modules.
"""

from __future__ import annotations

from typing import Any

from nbpar.wire.pickling import Packed
from nbpar.wire.versions import Versions, neighbours

Wanted = tuple[tuple[str, bytes], ...]
"""Modules and their versions."""


class Reach:
    """The modules of this process that functions reach."""

    def __init__(self, *, born: float = 0.0) -> None:
        self.versions = Versions(born=born)
        self._neighbours: dict[str, tuple[Any, set[str]]] = {}

    def of(self, function: Packed) -> Wanted:
        """Return the modules that a function reaches, with the versions that this process runs."""
        files = self.versions.files
        found: dict[str, bytes] = {}
        pending = named(function.head, files)
        while pending:
            name = pending.pop()
            if name not in found and name in files:
                found[name] = self.versions.loaded(name)
                pending += self._neighbours_of(name, found[name])
        return tuple(sorted(found.items()))

    def _neighbours_of(self, name: str, version: bytes) -> set[str]:
        files = self.versions.files
        state = (version, len(files))
        known, found = self._neighbours.get(name, (None, set()))
        if known != state:
            found = neighbours(name) & files.keys()
            self._neighbours[name] = (state, found)
        return found


def named(head: bytes, names: Any) -> list[str]:
    """Return those of some names that stand in a pickle as whole strings."""
    return [name for name in names if _pickled_string(name) in head]


def _pickled_string(name: str) -> bytes:
    text = name.encode()
    return b"\x8c" + bytes([len(text)]) + text if len(text) < 256 else text
