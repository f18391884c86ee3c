"""Reload a user's modules that were edited since this engine imported them."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from nbpar.core.text import text_of
from nbpar.endpoint.carried_modules import is_carried, update
from nbpar.host.processes import began_at
from nbpar.wire.modules.reach import Wanted, named
from nbpar.wire.modules.sources import imports_of, reload_order
from nbpar.wire.modules.versions import OLDER, Versions

KIND = ("nbpar.errors", "StaleModuleWarning")
"""The category of warnings about modules that cannot be updated."""


EDITED = (
    "was edited after the notebook had imported it, and an engine has the new version; "
    "reload it here too: `importlib.reload` or `%autoreload 2`"
)


class ModuleReload:
    """The user's modules on this engine; lives as long as the process."""

    def __init__(self, *, born: float = 0.0) -> None:
        self._versions = Versions(born=born)

    def refresh(self, wanted: Wanted, head: bytes) -> list[dict[str, Any]]:
        """Reload modules that are older here than at the client, in the order of their imports.

        Those that came from the client's machine get its sources.  Modules that the function names and the
        client has not imported are compared with the disk.  Returns warnings about those that cannot be
        reloaded.

        Raises:
            PicklingError: one that came from there cannot be reloaded.
        """
        update(wanted, self._runs)
        here = self._here()
        aims = {name: version for name, version in wanted if name in here}
        aims |= {name: self._versions.on_disk(name) for name in named(head, here) if name not in aims}
        old = {name for name, version in aims.items() if version and not self._versions.runs(name, version)}
        fresh = {name for name in old if self._versions.on_disk(name) == aims[name]}
        if not fresh:
            return []
        return [said for name in self._in_order(fresh, aims) if (said := self._reload(name)) is not None]

    def check(self, wanted: Wanted) -> list[dict[str, Any]]:
        """Return warnings about modules whose version here differs from the client's."""
        self.note_imports()
        here = self._here()
        unknown = [name for name, version in wanted if version == OLDER and is_carried(name)]
        return [
            _warning(f"module {name!r} {EDITED}", str(sys.modules[name].__file__)) for name in unknown
        ] + [
            self._differs(name)
            for name, version in wanted
            if name in here and not self._versions.runs(name, version)
            if version != OLDER or self._versions.loaded(name) == self._versions.on_disk(name)
        ]

    def note_imports(self) -> None:
        """Note the modules imported since the last call."""
        self._versions.note_imports()

    def _here(self) -> dict[str, str]:
        """Return the modules that files of this machine tell about."""
        return {name: file for name, file in self._versions.files.items() if not is_carried(name)}

    def _runs(self, name: str, version: bytes) -> bool:
        """Whether a module runs in a version; an installed one counts as up to date."""
        return name not in self._versions.files or self._versions.runs(name, version)

    def _reload(self, name: str) -> dict[str, Any] | None:
        module = sys.modules[name]
        file = self._versions.files[name]
        with suppress(OSError, NotImplementedError):  # bytecode may be of another edit in the same second
            Path(importlib.util.cache_from_source(file)).unlink()
        try:
            importlib.reload(module)
        except BaseException as error:  # noqa: BLE001 (the user's code runs here)
            return _warning(
                f"module {name!r} was edited and could not be reloaded on an engine, which goes on with "
                f"what it has of it ({type(error).__name__}: {text_of(error)})",
                file,
            )
        self._versions.note_reload(name)
        return None

    def _differs(self, name: str) -> dict[str, Any]:
        if self._versions.loaded(name) == self._versions.on_disk(name):
            what = EDITED
        else:
            what = (
                "is another one on an engine than here; see that its file is the same there, and restart "
                "the engines with `%nbpar restart`"
            )
        return _warning(f"module {name!r} {what}", self._versions.files[name])

    def _in_order(self, fresh: set[str], reached: Iterable[str]) -> list[str]:
        """Return the modules to reload, each before its importers."""
        return reload_order(fresh, {name: self._imports(name) & set(reached) for name in reached})

    def _imports(self, name: str) -> set[str]:
        package = sys.modules[name].__package__ or ""
        return imports_of(self._versions.source(name), package) - {name}


@cache
def freshness_of_this_process() -> ModuleReload:
    """Return the module versions of this engine."""
    return ModuleReload(born=began_at())


def _warning(text: str, file: str) -> dict[str, Any]:
    kinds = [KIND, ("builtins", "UserWarning"), ("builtins", "Warning")]
    return {"text": text, "kinds": kinds, "filename": file, "line": 1}
