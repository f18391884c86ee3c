"""Modules sent as source together with the code that needs them.

A module that can be imported otherwise is imported as usual: the finder of these comes last.
"""

from __future__ import annotations

import importlib
import sys
import time
from contextlib import suppress
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from nbpar.errors import PicklingError


class CarriedModule(NamedTuple):
    """The source of a module."""

    source: str
    filename: str
    package: bool


class Sources:
    """Sources by module name; unpickling makes these importable before the rest is unpickled."""

    def __init__(self, modules: dict[str, CarriedModule]) -> None:
        self.modules = modules

    def __reduce__(self) -> tuple[Any, ...]:
        return offer, (self.modules,)


class Carrying(NamedTuple):
    """Code, and the modules that must be importable before it is unpickled."""

    sources: Any
    code: Any


def offer(modules: dict[str, CarriedModule]) -> None:
    """Make modules importable; modules of an earlier offer with another version are reloaded."""
    changed = [name for name, one in modules.items() if name in _offered and _offered[name] != one]
    _offered.update(modules)
    _came.update(dict.fromkeys(modules, time.time()))
    if _finder not in sys.meta_path:
        sys.meta_path.append(_finder)
    for name in changed:
        module = sys.modules.get(name)
        if module is not None and getattr(module.__spec__, "loader", None) is _finder:
            _reload(name, module)


class _Finder(MetaPathFinder, InspectLoader):
    """Finds the modules that were offered."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:  # noqa: ARG002
        one = _offered.get(name)
        if one is None:
            return None
        spec = spec_from_loader(name, self, origin=one.filename, is_package=one.package)
        assert spec is not None  # it has a loader
        spec.has_location = True
        return spec

    def get_source(self, fullname: str) -> str:
        one = _offered[fullname]
        file = Path(one.filename)
        with suppress(OSError):  # the file is on another host
            if file.stat().st_mtime > _came[fullname]:  # edited since: the module reload expects the new one
                return file.read_text("utf-8")
        return one.source

    def get_code(self, fullname: str) -> Any:
        filename = _offered[fullname].filename
        return compile(self.get_source(fullname), filename, "exec", dont_inherit=True)

    def is_package(self, fullname: str) -> bool:
        return _offered[fullname].package


def _reload(name: str, module: ModuleType) -> None:
    try:
        importlib.reload(module)
    except Exception as error:
        raise PicklingError(f"cannot load the new version of module `{name}`: {error}") from error


_offered: dict[str, CarriedModule] = {}
_came: dict[str, float] = {}
"""Times when they arrived, on the clock of files."""

_finder = _Finder()
