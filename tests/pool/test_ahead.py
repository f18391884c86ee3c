"""Idle workers import what the notebook has imported."""

from __future__ import annotations

import json
import types
from concurrent.futures import Future
from types import SimpleNamespace

import cloudpickle
import numpy as np
import pytest
from numpy.polynomial import Polynomial

from nbpar.pool import ahead
from nbpar.pool.ahead import ImportsAhead, imported_by


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(ahead, "PAUSE", 0.0)
    monkeypatch.setattr(ahead, "free_memory", lambda: 1000)
    monkeypatch.setattr(ahead, "resident_bytes_of", lambda pid: SIZES.get(pid, 0))
    monkeypatch.delenv(ahead.SWITCH, raising=False)
    SIZES.clear()


SIZES: dict[int, int | None] = {}
"""Resident bytes by process."""


class Workers:
    """Workers that note what they import; `on_import` may change them."""

    def __init__(self, count=2, on_import=lambda pid: None):
        self.idle = True
        self.pids = {f"worker {number}": number for number in range(count)}
        self.imports = []
        self._on_import = on_import

    def processes(self):
        return dict(self.pids)

    def changed_world(self):
        return ()

    def run_idle(self, uuid, program, settings):
        self.imports.append((uuid, settings["module"]))
        self._on_import(self.pids[uuid])
        end = Future()
        end.set_result(None)
        return end


def all_done(imports):
    """Wait until its thread has ended."""
    if (thread := imports._thread) is not None:
        thread.join(60)


def wanted(workers, *modules):
    imports = ImportsAhead(workers)
    imports.want(modules)
    all_done(imports)
    return imports


def test_each_worker_imports_each_module_once_and_new_ones_later():
    workers = Workers()
    imports = wanted(workers, "a", "b")
    workers.pids["worker 2"] = 2
    imports.want(["a", "b"])
    all_done(imports)

    assert workers.imports == [
        ("worker 0", "a"), ("worker 1", "a"), ("worker 0", "b"), ("worker 1", "b"),
        ("worker 2", "a"), ("worker 2", "b"),
    ]  # fmt: skip


def test_nothing_is_begun_while_workers_have_something_to_do():
    workers = Workers()
    workers._on_import = lambda _: setattr(workers, "idle", False)
    imports = wanted(workers, "a", "b")
    first = list(workers.imports)
    workers.idle, workers._on_import = True, lambda _: None
    imports.want(["a", "b"])
    all_done(imports)

    assert first == [("worker 0", "a")]
    assert set(workers.imports) == {(uuid, module) for uuid in workers.pids for module in "ab"}


def test_a_package_that_would_take_much_memory_on_all_is_imported_by_one():
    workers = Workers(3, on_import=lambda pid: SIZES.update({pid: 200}))

    wanted(workers, "large", "small")

    assert [uuid for uuid, module in workers.imports if module == "large"] == ["worker 0"]


def test_a_package_that_ends_a_worker_is_left_alone():
    workers = Workers(3, on_import=lambda pid: SIZES.update({pid: None}))

    wanted(workers, "crashes")

    assert workers.imports == [("worker 0", "crashes")]


def test_it_can_be_turned_off(monkeypatch):
    monkeypatch.setenv(ahead.SWITCH, "0")
    workers = Workers()

    wanted(workers, "a")

    assert workers.imports == []


def test_workers_that_are_gone_are_let_go():
    workers = Workers(on_import=lambda pid: 1 / 0)

    wanted(workers, "a")

    assert len(workers.imports) == 1


class Hostile(type):
    """Raises whatever it is asked for."""

    def __getattribute__(cls, name):
        raise RuntimeError(name)


def test_modules_of_installed_packages_are_found_by_what_was_imported_from_them(tmp_path):
    own = types.ModuleType("own")
    own.__file__ = str(tmp_path / "own.py")
    namespace = {
        "np": np, "Polynomial": Polynomial, "Pickler": cloudpickle.CloudPickler, "json": json,
        "loads": json.loads, "own": own, "made": lambda: 0, "value": np.arange(3),
        "hostile": Hostile("H", (), {}), "namespace": SimpleNamespace(), "_": None,
    }  # fmt: skip

    assert imported_by(namespace) == ["numpy", "numpy.polynomial.polynomial"]


def test_packages_that_act_when_they_are_imported_are_left_to_the_user(monkeypatch):
    acting = types.ModuleType("mpi4py.MPI")
    acting.__file__ = np.__file__
    monkeypatch.setitem(ahead.sys.modules, "mpi4py.MPI", acting)

    assert imported_by({"MPI": acting}) == []
