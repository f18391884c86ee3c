"""A shell without a front end, and pools that run everything in this process, at once."""

from __future__ import annotations

import atexit
import linecache
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from nbpar.notebook.cell import CellContext, item_function
from nbpar.notebook.cell_source import CellSource
from nbpar.notebook.magic_line import read_loop


@dataclass
class InlinePool:
    """Runs each item where it is called, and notes what it was asked for."""

    count: int | None
    backend: str
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    functions: list[Any] = field(default_factory=list)

    @property
    def workers(self):
        return [{"worker": f"engine {n}", "host": "elsewhere", "pid": 1} for n in range(self.count or 2)]

    def map(self, fn, *iterables, **options):
        return self._note("map", fn, iterables, options)

    def imap_unordered(self, fn, *iterables, **options):
        return iter(self._note("imap_unordered", fn, iterables, options)[::-1])

    def map_async(self, fn, *iterables, **options):
        return ("run", self._note("map_async", fn, iterables, options))

    def _note(self, call, fn, iterables, options):
        self.asked.append((call, options))
        self.functions.append(fn)
        return list(map(fn, *iterables))


@dataclass
class InlinePools:
    """Default pools, one for each size and backend."""

    pools: list[InlinePool] = field(default_factory=list)
    used: Any = None
    said: list[str] = field(default_factory=list)

    def default_pool(self, workers=None, backend="engines"):
        self.pools.append(InlinePool(workers, backend))
        return self.pools[-1]

    def pool_for(self, backend, options):
        return self.default_pool(backend=backend)

    def used_place(self):
        return self.used

    def use(self, place):
        self.used = None if place is None else SimpleNamespace(pool=place, what="a place")
        return self.used

    def default_pools(self):
        return list(self.pools)

    def notices(self):
        return self.said

    def close_default_pools(self):
        self.pools.clear()


@pytest.fixture
def pools():
    return InlinePools()


@pytest.fixture
def shell(pools, tmp_path, monkeypatch):
    import IPython
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    from nbpar.notebook.extension import install, uninstall

    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor" if IPython.version_info >= (9,) else "NoColor"
    shell = InteractiveShell.instance(config=config)
    shell.reset(new_session=False)
    install(shell, pools)
    yield shell
    uninstall(shell)
    shell.restore_sys_module_state()
    atexit.unregister(shell.atexit_operations)  # it would keep the shell, and collect garbage at the end
    InteractiveShell.clear_instance()


@pytest.fixture
def run(shell, capsys):
    """Run a cell that must succeed; returns its output."""

    def run_cell(text):
        result = shell.run_cell(text, store_history=True)
        result.raise_error()
        return result.result

    return run_cell


@pytest.fixture
def fail(shell, capsys):
    """Run a cell that must fail; returns the error and what the user sees."""

    def run_cell(text):
        capsys.readouterr()
        result = shell.run_cell(text, store_history=True)
        shown = capsys.readouterr()
        return result.error_in_exec, shown.out + shown.err

    return run_cell


@pytest.fixture(scope="session")
def make():
    """Make the function of a cell that stands alone, without a shell."""

    def make_function(line, body, names=None, **setting):
        text = f"%%parallel_map {line}\n{body}"
        place = CellSource("<the cell>", text, 1)
        linecache.cache[place.filename] = (len(text), None, text.splitlines(keepends=True), place.filename)
        namespace = {} if names is None else names
        namespace.setdefault("__name__", "__main__")
        loop = read_loop(line, 1, place.column(line))
        return item_function(loop.targets, body, CellContext(namespace, place, **setting))

    yield make_function
    linecache.cache.pop("<the cell>", None)
