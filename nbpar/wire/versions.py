"""Which version of a user's modules this process runs, named by a digest of the source.

Python does not say from which source a module was loaded, so it is found out: what a file
held when its module was first seen here, and whether it was reloaded since.  A file is read
again only when its time or size has changed.

Installed packages are no concern of this: nobody edits them while engines live.  A package
that is installed in editable form is a user's.
"""

from __future__ import annotations

import os
import site
import sys
import sysconfig
from dataclasses import dataclass
from hashlib import blake2b
from importlib.machinery import SourceFileLoader
from types import FunctionType, ModuleType
from typing import Any

from nbpar.wire.sources import carried_over, same_functions

OLDER = b""
"""The version of a module that is older than its file, and nobody knows by how much."""

OWN = frozenset(
    {"nbpar", "__main__", "__mp_main__", "IPython", "ipykernel", "ipyparallel", "cloudpickle", "zmq"}
)
"""What is never reloaded: what does the reloading, and what it stands on."""


@dataclass(slots=True)
class _Seen:
    """A module as it was when it was looked at."""

    spec: Any
    """Python makes a new one each time it loads or reloads a module."""

    stamp: tuple[int, int]
    """Time and size of its file."""

    parts: int
    """Tells whether its functions were replaced."""

    source: bytes
    """What is on the disk."""

    disk: bytes
    """The version of that."""

    base: bytes
    """The source of what is loaded, if it is known."""

    loaded: bytes
    """The version of that."""


class Versions:
    """The user's modules of this process.

    Args:
        born: when this process began, on the clock of files; a file that is older was not edited
            since its module was loaded.
    """

    def __init__(self, *, born: float = 0.0) -> None:
        self._born = born
        self._seen: dict[str, _Seen] = {}
        self._files: dict[str, str] = {}
        self._others: set[str] = set()
        self._state = (0, "")
        """How many modules were imported when they were looked through, and the last of them."""

    @property
    def files(self) -> dict[str, str]:
        """Source files of the user's modules that are imported, by the modules' names."""
        state = (len(sys.modules), next(reversed(sys.modules)))
        if state != self._state:
            self._state = state
            for name in sys.modules.keys() - self._others - self._files.keys():
                file = source_of(name)
                if file is None:
                    self._others.add(name)
                else:
                    self._files[name] = file
            for name in self._files.keys() - sys.modules.keys():
                del self._files[name]
        return self._files

    def loaded(self, name: str) -> bytes:
        """Return the version that this process runs; `OLDER` when nobody knows."""
        seen = self._look(name)
        return OLDER if seen is None else seen.loaded

    def runs(self, name: str, version: bytes) -> bool:
        """Whether this process runs a version; does not look at the disk when it does."""
        seen, spec = self._seen.get(name), getattr(sys.modules.get(name), "__spec__", None)
        if seen is not None and seen.loaded == version and seen.spec is spec:
            return True
        return self.loaded(name) == version

    def note_imports(self) -> None:
        """Take in that what was not seen here before has been imported just now."""
        for name in self.files.keys() - self._seen.keys():
            if (seen := self._look(name)) is not None:
                seen.loaded, seen.base = seen.disk, seen.source

    def on_disk(self, name: str) -> bytes:
        """Return the version that a reload would bring; `OLDER` when there is none."""
        seen = self._look(name)
        return OLDER if seen is None else seen.disk

    def source(self, name: str) -> bytes:
        """Return what is on the disk."""
        seen = self._look(name)
        return b"" if seen is None else seen.source

    def note_reload(self, name: str) -> None:
        """Take in that a module has just been reloaded from what `on_disk` says."""
        if (seen := self._seen.get(name)) is not None:
            seen.spec, seen.loaded, seen.base = sys.modules[name].__spec__, seen.disk, seen.source

    def _look(self, name: str) -> _Seen | None:
        module, file = sys.modules.get(name), self.files.get(name)
        if module is None or file is None:
            return None
        seen = self._seen.get(name)
        try:
            state = os.stat(file)  # noqa: PTH116 (once for each module and run)
        except OSError:
            return seen  # the file is gone: what is loaded stays
        stamp = (state.st_mtime_ns, state.st_size)
        same = seen is not None and seen.spec is module.__spec__ and seen.stamp == stamp
        if same and seen is not None and (seen.loaded == seen.disk or seen.parts == parts_of(module)):
            return seen
        new = self._look_inside(module, file, stamp, seen)
        if new is not None:
            self._seen[name] = new
        return new

    def _look_inside(
        self, module: ModuleType, file: str, stamp: tuple[int, int], seen: _Seen | None
    ) -> _Seen | None:
        try:
            with open(file, "rb") as opened:  # noqa: PTH123 (likewise)
                source = opened.read()
        except OSError:
            return seen
        disk = digest_of(source)
        loaded, base = (disk, source) if self._is_loaded(module, source, stamp, seen) else (OLDER, b"")
        if loaded == OLDER and seen is not None and seen.spec is module.__spec__:
            loaded, base = seen.loaded, seen.base
        return _Seen(module.__spec__, stamp, parts_of(module), source, disk, base, loaded)

    def _is_loaded(
        self, module: ModuleType, source: bytes, stamp: tuple[int, int], seen: _Seen | None
    ) -> bool:
        """Whether what is on the disk is what this process runs."""
        if seen is None:
            return stamp[0] < self._born * 1e9 or _same(module, source)
        if source == seen.base:
            return seen.spec is module.__spec__ or _same(module, source)
        if seen.spec is not module.__spec__ or not seen.base:
            return _same(module, source)
        return carried_over(vars(module), seen.base, source)


def digest_of(source: bytes) -> bytes:
    """Name a version."""
    return blake2b(source, digest_size=12).digest()


def source_of(name: str) -> str | None:
    """Return the source file of an imported module if it is a user's."""
    if name.partition(".")[0] in OWN:
        return None
    file = getattr(sys.modules.get(name), "__file__", None)
    if not isinstance(file, str) or not file.endswith(".py") or _is_installed(file):
        return None
    return file if os.path.isfile(file) else None  # noqa: PTH113 (likewise)


def _same(module: ModuleType, source: bytes) -> bool:
    """Whether a module does what a source says, as far as its functions tell.

    A loader that changes code, as pytest's does with tests, leaves nothing to compare.
    """
    plain = type(getattr(module.__spec__, "loader", None)) is SourceFileLoader
    return not plain or same_functions(vars(module), source)


def parts_of(module: ModuleType) -> int:
    """Return a number that changes when functions of a module are replaced or get other code."""
    codes = []
    for value in list(vars(module).values()):
        members = list(vars(value).values()) if isinstance(value, type) else [value]
        codes += [id(member.__code__) for member in members if isinstance(member, FunctionType)]
    return hash(tuple(codes))


def neighbours(name: str) -> set[str]:
    """Return the modules whose things a module has among its own."""
    found = {name.rpartition(".")[0]}
    for value in list(vars(sys.modules[name]).values()):
        if isinstance(value, ModuleType):
            found.add(value.__name__)
        else:
            owner = value if isinstance(value, FunctionType | type) else type(value)
            found.add(str(getattr(owner, "__module__", "")))
    return found - {name}


def _is_installed(file: str) -> bool:
    parts = file.replace("\\", "/").split("/")
    return "site-packages" in parts or "dist-packages" in parts or file.startswith(_installed_folders())


def _installed_folders() -> tuple[str, ...]:
    if not _folders:
        paths = sysconfig.get_paths()
        known = {paths[key] for key in ("stdlib", "platstdlib", "purelib", "platlib") if paths.get(key)}
        known |= {os.path.dirname(os.__file__), site.getusersitepackages()}  # noqa: PTH120 (likewise)
        _folders.extend(folder.rstrip(os.sep) + os.sep for folder in known if folder)
    return tuple(_folders)


_folders: list[str] = []
