"""The version of a user's module that this process runs, identified by a digest of its source.

Python does not record the source of a module, so it is inferred: from the content of its file
when the module was first seen here, and from later reloads.  A file is read
again only if its time or size has changed.

Installed packages are ignored: they are not edited while engines live.  A package
installed in editable form counts as a user's.
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

from nbpar.host.ctrl_c import may_be_ctrl_c
from nbpar.wire.modules.sources import carried_over, same_functions

OLDER = b""
"""The version of a module that is older than its file, from an unknown source."""

OWN = frozenset(
    {"nbpar", "__main__", "__mp_main__", "IPython", "ipykernel", "ipyparallel", "cloudpickle", "zmq"}
)
"""Modules that are never reloaded: those of the reloading code and its dependencies."""


@dataclass(slots=True)
class _Seen:
    """The state of a module when it was inspected."""

    spec: Any
    """Python makes a new one each time it loads or reloads a module."""

    stamp: tuple[int, int]
    """Time and size of its file."""

    parts: int
    """Changes when functions of the module are replaced."""

    source: bytes
    """The source on the disk."""

    disk: bytes
    """The version of the source on the disk."""

    base: bytes
    """The source of the loaded module, if known."""

    loaded: bytes
    """The version of the loaded module."""


class Versions:
    """The user's modules of this process.

    Args:
        born: time of this process's start, on the clock of files; an older file was not edited
            since its module was loaded.
    """

    def __init__(self, *, born: float = 0.0) -> None:
        self._born = born
        self._seen: dict[str, _Seen] = {}
        self._files: dict[str, str] = {}
        self._others: set[str] = set()
        self._state = (0, "")
        """Number of modules at the last scan, and the last of them."""

    @property
    def files(self) -> dict[str, str]:
        """Source files of the imported user's modules, by module name."""
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
        """Return the version that this process runs; `OLDER` if unknown."""
        seen = self._look(name)
        return OLDER if seen is None else seen.loaded

    def runs(self, name: str, version: bytes) -> bool:
        """Whether this process runs a version; does not read the disk if it does."""
        seen, spec = self._seen.get(name), attribute(sys.modules.get(name), "__spec__")
        if seen is not None and seen.loaded == version and seen.spec is spec:
            return True
        return self.loaded(name) == version

    def note_imports(self) -> None:
        """Note that modules not seen before have been imported just now."""
        for name in self.files.keys() - self._seen.keys():
            if (seen := self._look(name)) is not None:
                seen.loaded, seen.base = seen.disk, seen.source

    def on_disk(self, name: str) -> bytes:
        """Return the version after a reload; `OLDER` if there is none."""
        seen = self._look(name)
        return OLDER if seen is None else seen.disk

    def source(self, name: str) -> bytes:
        """Return the source on the disk."""
        seen = self._look(name)
        return b"" if seen is None else seen.source

    def running(self, name: str) -> bytes:
        """Return the source that this process runs; that on the disk if unknown."""
        seen = self._look(name)
        return b"" if seen is None else seen.base or seen.source

    def note_reload(self, name: str) -> None:
        """Note that a module has just been reloaded from the source of `on_disk`."""
        if (seen := self._seen.get(name)) is not None:
            seen.spec, seen.loaded, seen.base = sys.modules[name].__spec__, seen.disk, seen.source

    def _look(self, name: str) -> _Seen | None:
        """Return the known facts of a module; one that cannot be inspected is ignored."""
        try:
            return self._looked_at(name)
        except BaseException as error:
            if may_be_ctrl_c(error):
                raise
            self._others.add(name)
            self._files.pop(name, None)
            return None

    def _looked_at(self, name: str) -> _Seen | None:
        module, file = sys.modules.get(name), self.files.get(name)
        if module is None or file is None:
            return None
        seen = self._seen.get(name)
        try:
            state = os.stat(file)  # noqa: PTH116 (once for each module and run)
        except OSError:
            return seen  # the file is gone: the loaded module stays
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
        """Whether this process runs the source on the disk."""
        if seen is None:
            return stamp[0] < self._born * 1e9 or _same(module, source)
        if source == seen.base:
            return seen.spec is module.__spec__ or _same(module, source)
        if seen.spec is not module.__spec__ or not seen.base:
            return _same(module, source)
        return carried_over(vars(module), seen.base, source)


def digest_of(source: bytes) -> bytes:
    """Return the version of a source."""
    return blake2b(source, digest_size=12).digest()


def source_of(name: str) -> str | None:
    """Return the source file of an imported module if it is a user's; `sys.modules` may hold any object."""
    if type(name) is not str or name.partition(".")[0] in OWN:
        return None
    file = attribute(sys.modules.get(name), "__file__")
    if not isinstance(file, str) or not file.endswith(".py") or is_installed(file):
        return None
    return file if os.path.isfile(file) else None  # noqa: PTH113 (likewise)


def attribute(module: object, name: str) -> Any:
    """Return an attribute of an entry in `sys.modules`, whose own code may run; None if there is none."""
    try:
        return getattr(module, name, None)
    except BaseException as error:
        if may_be_ctrl_c(error):
            raise
        return None


def _is_a(value: object, kind: type | tuple[type, ...]) -> bool:
    """Whether a value is of a type, without calling its code, as `isinstance` does for proxies."""
    return issubclass(type(value), kind)


def _same(module: ModuleType, source: bytes) -> bool:
    """Whether a module corresponds to a source, judged by its functions.

    After a loader that changes code, as pytest's does with tests, nothing can be compared.
    """
    plain = type(getattr(module.__spec__, "loader", None)) is SourceFileLoader
    return not plain or same_functions(vars(module), source)


def parts_of(module: ModuleType) -> int:
    """Return a number that changes when functions of a module are replaced or get new code."""
    codes = []
    for value in list(vars(module).values()):
        members = list(vars(value).values()) if _is_a(value, type) else [value]
        codes += [id(member.__code__) for member in members if _is_a(member, FunctionType)]
    return hash(tuple(codes))


def neighbors(name: str) -> set[str]:
    """Return the modules whose objects a module has among its globals."""
    found = {name.rpartition(".")[0]}
    for value in list(vars(sys.modules[name]).values()):
        if _is_a(value, ModuleType):
            found.add(value.__name__)
        else:
            owner = value if _is_a(value, (FunctionType, type)) else type(value)
            found.add(str(attribute(owner, "__module__")))
    return found - {name}


def is_installed(file: str) -> bool:
    """Whether a file is part of Python or of an installed package."""
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
