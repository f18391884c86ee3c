"""Find the user's own modules for workers that ask for them; nothing is imported for that.

A module is the user's own if this process imports it, or would import it, from a source file that is no part
of Python or of an installed package.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from pkgutil import get_importer
from typing import Any, NamedTuple

from nbpar.endpoint.carried_modules import CarriedModule
from nbpar.host.ctrl_c import may_be_ctrl_c
from nbpar.wire.messages import FoundModule, SeekModule
from nbpar.wire.modules.reach import Reach, reach_of_this_process
from nbpar.wire.modules.sources import imports_of
from nbpar.wire.modules.versions import OWN, is_installed

MOST = 4 << 20
"""Bytes of source after which other modules are sent only when they are asked for."""

MOST_SECONDS = 0.1
"""Seconds of looking for imports after which others are sent when they are asked for: runs wait meanwhile."""

MOST_ANSWERS = 16
"""Number of answers that are kept for the next worker."""

MOST_FILES = 16 << 20
"""Maximal bytes of a package's data files."""

MOST_ENTRIES = 10_000
"""Maximal number of files in a package's folders that are looked at."""

_CODE = (".py", ".pyc", ".pyo", ".pyi", *EXTENSION_SUFFIXES, ".so", ".pyd", ".dll", ".dylib")


class Place(NamedTuple):
    """Where a module of the user is."""

    file: str
    """Its source, or the shared library of a compiled one; "" for a namespace package."""

    folders: tuple[str, ...]
    """Where the modules of a package are; empty for others."""


class OwnModules:
    """The user's modules of this process.

    Args:
        reach: knows their versions.
    """

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._imports: dict[tuple[str, bytes], set[str]] = {}
        self._answers: dict[str, dict[str, CarriedModule]] = {}
        """Modules of earlier answers; other workers will ask the same."""

    def answer(self, question: SeekModule) -> FoundModule:
        """Answer a worker's question; an error that looking raises is its reason for having nothing."""
        try:
            with self._reach.lock:
                return self._answer(question)
        except BaseException as error:
            if may_be_ctrl_c(error):
                raise
            reason = f"looking for {question.name!r} failed here: {type(error).__name__}: {error}"
            return FoundModule(question.number, (), reason, ())

    def _answer(self, question: SeekModule) -> FoundModule:
        places: dict[str, Place | None] = {}
        place = self._place(question.name, places)
        if place is None:
            return FoundModule(question.number, (), "", ())
        if place.file and not place.file.endswith(".py"):
            return FoundModule(question.number, (), _refusal(question.name, place.file), ())
        if question.files:
            files, refusal = _data_files(question.name, place)
            return FoundModule(question.number, (), refusal, files)
        modules = self._answers.get(question.name)
        if modules is None or not all(map(self._is_current, modules.items())):
            modules = dict(self._closure(question.name, places))
            self._answers.pop(question.name, None)
            self._answers[question.name] = modules
            while len(self._answers) > MOST_ANSWERS:
                self._answers.pop(next(iter(self._answers)))
        return FoundModule(
            question.number, tuple((name, *module) for name, module in modules.items()), "", ()
        )

    def _is_current(self, sent: tuple[str, CarriedModule]) -> bool:
        name, module = sent
        return not module.filename or self._reach.version(name, module.filename) == module.version

    def _closure(self, name: str, places: dict[str, Place | None]) -> Iterator[tuple[str, CarriedModule]]:
        """Yield a module, the packages around it, and the user's own modules that these import."""
        pending, seen, size = [name], set[str](), 0
        deadline = time.monotonic() + MOST_SECONDS
        while pending and size < MOST and (not seen or time.monotonic() < deadline):
            one = pending.pop(0)
            place = None if one in seen else self._place(one, places)
            seen.add(one)
            if place is None or (place.file and not place.file.endswith(".py")):
                continue
            module = self._carried(one, place)
            size += len(module.source)
            pending += [one.rpartition(".")[0], *sorted(self._imports_of(one, module))]
            yield one, module

    def _carried(self, name: str, place: Place) -> CarriedModule:
        if not place.file:
            return CarriedModule(b"", "", True, place.folders)
        versions = self._reach.versions
        source = versions.running(name) if name in versions.files else Path(place.file).read_bytes()
        self._reach.carried[name] = place.file
        return CarriedModule(source, place.file, bool(place.folders), place.folders)

    def _imports_of(self, name: str, module: CarriedModule) -> set[str]:
        versions = self._reach.versions
        if name in versions.files:  # it is imported: there is a faster way
            return self._reach.neighbors_of(name, versions.loaded(name))
        key = (name, module.version)
        if key not in self._imports:
            package = name if module.package else name.rpartition(".")[0]
            self._imports[key] = imports_of(module.source, package)
        return self._imports[key]

    def _place(self, name: str, places: dict[str, Place | None]) -> Place | None:
        """Return the place of a module; None if there is none, or if it is not the user's own."""
        if name not in places:
            places[name] = self._found(name, places)
        return places[name]

    def _found(self, name: str, places: dict[str, Place | None]) -> Place | None:
        parent, _, _ = name.rpartition(".")
        above = self._place(parent, places) if parent else None
        if parent and (above is None or not above.folders):
            return None
        if not parent and (not name or name in OWN or name in sys.stdlib_module_names):
            return None
        if name in sys.modules:
            return self._imported(name)
        return _top_level(name) if above is None else _inside(name, above.folders)

    def _imported(self, name: str) -> Place | None:
        module = sys.modules[name]
        folders = tuple(map(str, getattr(module, "__path__", ())))
        if (file := self._reach.versions.files.get(name)) is not None:
            return Place(file, folders)
        return _own(getattr(module, "__spec__", None))


@cache
def own_modules_of_this_process() -> OwnModules:
    """Return the user's modules of this process."""
    return OwnModules(reach_of_this_process())


def _top_level(name: str) -> Place | None:
    for finder in list(sys.meta_path):
        find = getattr(finder, "find_spec", None)
        if find is not None and (spec := find(name, None)) is not None:
            return _own(spec)
    return None


def _inside(name: str, folders: tuple[str, ...]) -> Place | None:
    """Find a module in its package's folders, as `PathFinder` does for an imported package."""
    portions: list[str] = []
    for folder in folders:
        spec: Any = getattr(get_importer(folder), "find_spec", lambda _: None)(name)
        if spec is not None and spec.loader is not None:
            return _own(spec)
        portions += [] if spec is None else spec.submodule_search_locations
    return Place("", tuple(portions)) if portions else None


def _own(spec: Any) -> Place | None:
    """Return the place that an import would take a module from, if it is the user's own."""
    if spec is None:  # of a module that was made by hand
        return None
    folders = tuple(map(str, spec.submodule_search_locations or ()))
    file = spec.origin if spec.has_location else ""
    if not file and not folders:
        return None  # built in
    if any(is_installed(place) for place in ([file] if file else folders)):
        return None
    return Place(file, folders) if not file or file.endswith((".py", *EXTENSION_SUFFIXES)) else None


def _refusal(name: str, file: str) -> str:
    return (
        f"module {name!r} is compiled ({file}) and cannot be sent to another machine; "
        "install the package that it belongs to there"
    )


def _data_files(name: str, place: Place) -> tuple[tuple[tuple[str, bytes], ...], str]:
    """Return the files of a package that are no code, or why they are not sent."""
    found: dict[str, Path] = {}
    size = entries = 0
    for folder in place.folders:
        for path in _files_below(Path(folder)):
            entries += 1
            size += path.stat().st_size
            if size > MOST_FILES or entries > MOST_ENTRIES:
                return (), (
                    f"the data files of package {name!r} are more than {MOST_FILES >> 20} MB or "
                    f"{MOST_ENTRIES} files, which is too much to send them along; copy them to the "
                    "workers with `nbpar.push_files`, or install the package there"
                )
            found.setdefault(path.relative_to(folder).as_posix(), path)
    return tuple((path, file.read_bytes()) for path, file in found.items()), ""


def _files_below(folder: Path) -> Iterator[Path]:
    for here, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "__pycache__")
        for name in sorted(files):
            if not name.startswith(".") and not name.endswith(_CODE):
                yield Path(here, name)
