"""Find the user's modules that a function depends on, and their versions here.

A pickled function names every object that it does not contain, so its modules are those whose
names are in the pickle, and those they import from.
"""

from __future__ import annotations

from typing import Any

from nbpar.host.ctrl_c import may_be_ctrl_c
from nbpar.wire.modules.versions import Versions, neighbors
from nbpar.wire.pickling import Packed

Wanted = tuple[tuple[str, bytes], ...]
"""Modules and their versions."""


class Reach:
    """Finds the modules of this process that functions use."""

    def __init__(self, *, born: float = 0.0) -> None:
        self.versions = Versions(born=born)
        self._neighbors: dict[str, tuple[Any, set[str]]] = {}

    def of(self, function: Packed) -> Wanted:
        """Return the modules that a function uses, with the versions that this process runs."""
        files = self.versions.files
        found: dict[str, bytes] = {}
        pending = named(function.head, files)
        while pending:
            name = pending.pop()
            if name not in found and name in files:
                found[name] = self.versions.loaded(name)
                pending += self._neighbors_of(name, found[name])
        return tuple(sorted(found.items()))

    def _neighbors_of(self, name: str, version: bytes) -> set[str]:
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


def named(head: bytes, names: Any) -> list[str]:
    """Return those of some names that occur in a pickle as whole strings."""
    return [name for name in names if _pickled_string(name) in head]


def _pickled_string(name: str) -> bytes:
    text = name.encode()
    return b"\x8c" + bytes([len(text)]) + text if len(text) < 256 else text
