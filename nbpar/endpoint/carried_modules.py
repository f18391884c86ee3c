"""Modules of the client that are imported here from their source: sent with code, or on request.

A process of the client's machine requests only modules that it cannot import otherwise: the finder of these
comes last.  On another machine it comes first, so that the client's version of its user's modules is what
runs, whatever files of the same name are there; installed packages are imported as usual.
"""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import decode_source, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from nbpar.endpoint.carried_files import CarriedFiles
from nbpar.errors import PicklingError
from nbpar.wire.modules.sources import imports_of, reload_order
from nbpar.wire.modules.versions import OWN, digest_of, is_installed

ASK_AGAIN = 1.0
"""Seconds after which code of a channel may ask again for what the client did not have."""


class CarriedModule(NamedTuple):
    """The source of a module."""

    source: bytes
    filename: str
    """Its file at the client; "" for a package without one."""

    package: bool
    folders: tuple[str, ...] = ()
    """A package's folders at the client."""

    @property
    def version(self) -> bytes:
        """What `Versions` calls its version."""
        return digest_of(self.source)


Modules = dict[str, CarriedModule]


class Answer(NamedTuple):
    """What the client has of a module."""

    modules: Modules
    """The module, and those that it imports; empty if the client has none that could be sent."""

    refusal: str = ""
    """Why it cannot be sent although the client has it."""

    files: dict[str, bytes] = {}  # noqa: RUF012 (never changed)
    """A package's data files by their path in it, if they were asked for."""


class Sources:
    """Sources by module name; unpickling makes these importable before the rest is unpickled."""

    def __init__(self, modules: Modules) -> None:
        self.modules = modules

    def __reduce__(self) -> tuple[Any, ...]:
        return offer, (self.modules,)


class Carrying(NamedTuple):
    """Code, and the modules that must be importable before it is unpickled."""

    sources: Any
    code: Any


def offer(modules: Modules) -> None:
    """Make modules importable; those that are loaded in another version are reloaded, and what imports them.

    Raises:
        PicklingError: one cannot be reloaded; it is tried again with the next offer.
    """
    _finder.offered.update(modules)
    _finder.came.update(dict.fromkeys(modules, time.time()))
    _finder.enlist()
    changed = {
        name
        for name, one in modules.items()
        if sys.modules.get(name) is not None and _finder.loaded.get(name, one.version) != one.version
    }
    if changed:
        imports = {name: _finder.imports(name) for name in _finder.loaded.keys() & sys.modules.keys()}
        for name in reload_order(changed, imports):
            _reload(name, sys.modules[name])


@contextmanager
def asking(ask: Callable[[str, bool], Answer], *, far: bool) -> Iterator[None]:
    """Let imports in this process ask the client for its modules in this block.

    Args:
        ask: returns what the client has of a module; with True also the data files of a package.
        far: this is another machine than the client's.
    """
    for name in _finder.offered.keys() - sys.modules.keys():  # of another client
        del _finder.offered[name]
        _finder.loaded.pop(name, None)
    _finder.ask, _finder.far, _finder.process = ask, far, os.getpid()
    _finder.names.clear()
    _finder.unknown.clear()
    _finder.refusals.clear()
    _finder.enlist()
    try:
        yield
    finally:
        _finder.ask = None


def update(wanted: Iterable[tuple[str, bytes]], runs: Callable[[str, bytes], bool]) -> None:
    """Bring modules on another machine to the versions that the client runs.

    Args:
        wanted: the modules that the next function uses, and their versions; b"" is an unknown one.
        runs: whether a module that was imported from a file of this machine has a version.

    Raises:
        PicklingError: a module cannot be reloaded.
    """
    _finder.unknown.clear()
    _finder.refusals.clear()
    if (ask := _finder.ask) is None or not _finder.far:
        return
    wanted = [(name, version) for name, version in wanted if version]
    _finder.names |= {name.partition(".")[0] for name, _ in wanted}
    news: Modules = {}
    for name, version in wanted:
        if name in _finder.offered:
            old = _finder.offered[name].version != version or _finder.loaded.get(name, version) != version
        else:
            old = name in sys.modules and not runs(name, version)
        if old and name not in news:
            news.update(ask(name, False).modules)
    for name in news.keys() & sys.modules.keys() - _finder.loaded.keys():
        _finder.loaded[name] = b""  # it came from a file of this machine
    offer(news)


def is_carried(name: str) -> bool:
    """Whether an imported module came from the client's machine to this one, where its file means nothing."""
    return _finder.far and name in _finder.loaded


class _Finder(MetaPathFinder, InspectLoader):
    """Finds the modules that were offered, and asks for others."""

    def __init__(self) -> None:
        self.offered: Modules = {}
        self.came: dict[str, float] = {}
        """Times when they arrived, on the clock of files."""

        self.loaded: dict[str, bytes] = {}
        """Versions of modules that were executed."""

        self.ask: Callable[[str, bool], Answer] | None = None
        self.far = False
        self.process = 0
        """The one that may ask: its forks must not use its connection."""

        self.names: set[str] = set()
        """Top-level names of the client's modules that runs have used."""

        self.unknown: dict[str, float] = {}
        """Names that the client has been asked for in vain since the run began, with the time."""

        self.refusals: dict[str, str] = {}
        """Modules that the client has and cannot send, with its reasons."""

    def enlist(self) -> None:
        """Take the place among the finders of this process."""
        others = [finder for finder in sys.meta_path if finder not in (self, _last)]
        order = [self, *others, _last] if self.far else [*others, self, _last]
        if sys.meta_path != order:
            sys.meta_path[:] = order

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:  # noqa: ARG002
        if name not in self.offered and not (self._asks_for(name) and self._fetch(name)):
            return None
        one = self.offered[name]
        spec = spec_from_loader(name, self, origin=one.filename or None, is_package=one.package)
        assert spec is not None  # it has a loader
        spec.has_location = bool(one.filename)
        if one.package:
            spec.submodule_search_locations = [*one.folders, *(self._folders_here(name, path))]
        return spec

    def _asks_for(self, name: str) -> bool:
        """Whether the client is asked for a module that it has not offered."""
        if self.ask is None or self.process != os.getpid():
            return False
        if name in self.unknown and time.monotonic() - self.unknown[name] < ASK_AGAIN:
            return False
        parent, _, _ = name.rpartition(".")
        if parent:
            return parent in self.offered
        if name in OWN or name in sys.stdlib_module_names:
            return False
        return not self.far or name in self.names or not _is_installed_here(name)

    def _fetch(self, name: str) -> bool:
        """Ask the client for a module; return whether it has it."""
        assert self.ask is not None
        answer = self.ask(name, False)
        if answer.refusal:
            self.refusals[name] = answer.refusal
        if name not in answer.modules:
            self.unknown[name] = time.monotonic()
            return False
        fresh = {one: it for one, it in answer.modules.items() if one == name or one not in sys.modules}
        self.offered.update(fresh)  # an import is no moment to reload others
        self.came.update(dict.fromkeys(fresh, time.time()))
        return True

    def _folders_here(self, name: str, path: Any) -> list[str]:
        """Return the folders of a package of this name on another machine, which may have compiled parts."""
        spec = PathFinder.find_spec(name, path) if self.far else None
        return list(spec.submodule_search_locations or ()) if spec is not None else []

    def imports(self, name: str) -> set[str]:
        """Return the modules that a module imports."""
        package = name if self.offered[name].package else name.rpartition(".")[0]
        return imports_of(self.offered[name].source, package) - {name}

    # ---- loading

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        self.loaded[module.__name__] = digest_of(self._source(module.__name__))

    def get_source(self, fullname: str) -> str:
        return decode_source(self._source(fullname))

    def get_code(self, fullname: str) -> Any:
        name = self.offered[fullname].filename or f"<package {fullname}>"
        return compile(self._source(fullname), name, "exec", dont_inherit=True)

    def is_package(self, fullname: str) -> bool:
        return self.offered[fullname].package

    def _source(self, name: str) -> bytes:
        one = self.offered[name]
        if not self.far:
            file = Path(one.filename)
            with suppress(OSError):
                if (
                    file.stat().st_mtime > self.came[name]
                ):  # edited since: the module reload expects the new one
                    return file.read_bytes()
        return one.source

    # ---- data files of packages

    def get_resource_reader(self, fullname: str) -> CarriedFiles | None:
        """Return what `importlib.resources` reads a package's data files with."""
        ask = self.ask
        if ask is None or not self.is_package(fullname):
            return None
        return CarriedFiles(fullname, lambda: _files(ask(fullname, True)))

    def get_data(self, path: str) -> bytes:
        """Return the content of a file beside a module, as `pkgutil.get_data` asks for it."""
        for name, one in self.offered.items():
            for folder in one.folders:
                if (
                    Path(path).is_relative_to(folder)
                    and (reader := self.get_resource_reader(name)) is not None
                ):
                    return reader.files().joinpath(*Path(path).relative_to(folder).parts).read_bytes()
        raise FileNotFoundError(f"{path} is not among the data files of a package")


class _Last(MetaPathFinder):
    """Says why a module cannot be sent, when it is found nowhere else."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:  # noqa: ARG002
        if refusal := _finder.refusals.get(name):
            raise ModuleNotFoundError(refusal, name=name)


def _is_installed_here(name: str) -> bool:
    """Whether a top-level module is part of an installed package, built in, or frozen."""
    for finder in sys.meta_path:
        if finder not in (_finder, _last) and hasattr(finder, "find_spec"):
            spec = finder.find_spec(name, None)
            if spec is not None:
                places = [spec.origin] if spec.has_location else spec.submodule_search_locations
                return places is None or any(is_installed(place or "") for place in places)
    return False


def _files(answer: Answer) -> dict[str, bytes]:
    if answer.refusal:
        raise FileNotFoundError(answer.refusal)
    return answer.files


def _reload(name: str, module: ModuleType) -> None:
    try:
        importlib.reload(module)
    except Exception as error:
        raise PicklingError(f"cannot load the new version of module `{name}`: {error}") from error


_finder = _Finder()
_last = _Last()
