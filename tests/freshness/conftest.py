"""Modules that are edited while engines live."""

from __future__ import annotations

import importlib
import itertools
import os
import sys
import textwrap
from pathlib import Path

import pytest

import nbpar

KINDS = {"engines": {}, "controller": {"path": "controller"}, "threads": {"backend": "threads"}}


class Folder:
    """A folder of modules; each edit is a nanosecond newer than the one before."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._edits = itertools.count()
        self._begun = path.stat().st_mtime_ns

    def write(self, name: str, text: str) -> None:
        file = self.path.joinpath(*name.split(".")).with_suffix(".py")
        file.parent.mkdir(exist_ok=True)
        file.write_text(textwrap.dedent(text))
        now = file.stat().st_mtime_ns + next(self._edits)
        os.utime(file, ns=(now, now))

    def load(self, name: str, text: str):
        """Write a module and have it here."""
        self.write(name, text)
        importlib.invalidate_caches()
        module = sys.modules.get(name)
        return importlib.import_module(name) if module is None else reload(module)


def reload(module):
    """Reload a module from its source, whatever bytecode of the same second there is."""
    Path(importlib.util.cache_from_source(module.__file__)).unlink(missing_ok=True)
    return importlib.reload(module)


@pytest.fixture(scope="session")
def session_folder(tmp_path_factory):
    """A folder on the path of this process and of the engines, which have to be started later."""
    path = tmp_path_factory.mktemp("modules")
    sys.path.insert(0, str(path))
    yield Folder(path)
    sys.path.remove(str(path))


@pytest.fixture
def folder(session_folder):
    """The same; what it had is forgotten here afterwards, and every test uses other names."""
    yield session_folder
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(str(session_folder.path)):
            del sys.modules[name]


@pytest.fixture
def name(request):
    """The name of a module that no other test uses: engines outlive tests."""
    return f"mod_{abs(hash(request.node.nodeid))}"


@pytest.fixture(scope="session", params=["engines", "controller"])
def pool(request, session_folder):
    with nbpar.Pool(2, progress="none", **KINDS[request.param]) as pool:
        yield pool


@pytest.fixture(scope="session", params=KINDS)
def any_pool(request, session_folder):
    with nbpar.Pool(2, progress="none", **KINDS[request.param]) as pool:
        yield pool
