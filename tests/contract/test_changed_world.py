"""Items get the client's environment, working directory and import path as of the start of their run."""

from __future__ import annotations

import importlib
import os
import sys
from importlib.util import spec_from_file_location
from pathlib import Path

import pytest

import nbpar

pytestmark = pytest.mark.engines


@pytest.fixture(autouse=True)
def here(monkeypatch, tmp_path):
    """A folder and an environment that are put back."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("NBPAR_OLD", "old")
    monkeypatch.delenv("NBPAR_NEW", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module", params=["auto", "controller"])
def engines(request):
    with nbpar.Pool(2, path=request.param, progress="none") as pool:
        yield pool.wait()


def variables(_):
    return os.environ.get("NBPAR_OLD"), os.environ.get("NBPAR_NEW")


def _by_queue(pool, fn):
    with pool.queue(fn) as queue:
        queue.put(0)
        queue.put(1)
        return [queue.get(timeout=60) for _ in range(2)]


CALLS = {
    "map": lambda pool, fn: pool.map(fn, range(2), chunksize=1),
    "each": lambda pool, fn: pool.each(fn, 0),
    "submit": lambda pool, fn: [pool.submit(fn, 0).result() for _ in range(2)],
    "imap": lambda pool, fn: list(pool.imap(fn, range(2))),
    "queue": _by_queue,
    "pipeline": lambda pool, fn: nbpar.Pipeline([nbpar.Stage(fn)], pool=pool).map(range(2), progress="none"),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_the_environment_follows(engines, call):
    assert call(engines, variables) == [("old", None)] * 2
    os.environ["NBPAR_NEW"] = "new"
    del os.environ["NBPAR_OLD"]
    assert call(engines, variables) == [(None, "new")] * 2

    os.environ["NBPAR_OLD"] = "old"
    del os.environ["NBPAR_NEW"]

    assert call(engines, variables) == [("old", None)] * 2


def test_the_working_directory_follows(engines, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "table.csv").write_text("1,2")
    os.chdir("data")

    assert engines.map(Path.read_text, [Path("table.csv")]) == ["1,2"]
    os.chdir(tmp_path)
    assert engines.each(os.getcwd) == [str(tmp_path)] * 2


def test_the_import_path_follows(engines, tmp_path):
    (tmp_path / "beside.py").write_text("def answer(n):\n    return 42 + n\n")
    sys.path.append(str(tmp_path))

    def use(n):
        import beside

        return beside.answer(n)

    assert engines.map(use, range(2)) == [42, 43]


def test_a_directory_that_workers_do_not_have_is_told_of(engines, tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    engines.map(abs, [1])
    os.chdir(gone)
    gone.rmdir()
    real, os.getcwd = os.getcwd, lambda: str(gone)
    try:
        with pytest.warns(UserWarning, match=r"'.*gone' cannot be entered here .* use full paths"):
            assert engines.map(abs, [-1]) == [1]
    finally:
        os.getcwd = real


def test_workers_that_come_later_follow_too(engines):
    os.environ["NBPAR_NEW"] = "new"
    assert engines.each(variables, 0) == [("old", "new")] * 2

    engines.resize(3)
    try:
        assert engines.each(variables, 0) == [("old", "new")] * 3
    finally:
        engines.resize(2)


def test_a_pool_of_its_own_environment_keeps_it():
    with nbpar.Pool(1, env={"NBPAR_OLD": "mine"}, progress="none") as pool:
        assert pool.map(variables, [0]) == [("mine", None)]
        os.environ["NBPAR_OLD"] = os.environ["NBPAR_NEW"] = "new"

        assert pool.map(variables, [0]) == [("mine", "new")]


@pytest.mark.parametrize(
    ("options", "hint"),
    [({"backend": "threads"}, "have that of this process"), ({"cluster": "default"}, r"Cluster\(env=")],
)
def test_an_environment_needs_engines_of_the_pools_own(options, hint):
    with pytest.raises(ValueError, match=f"env= is the environment of engines that are started .*{hint}"):
        nbpar.Pool(1, env={"A": "b"}, **options)


def test_a_module_that_only_this_process_finds_is_sent(engines, tmp_path, monkeypatch):
    name = f"found_by_a_hook_{os.getpid()}"
    engines.each(os.getpid)  # they started without the hook of this editable install
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / f"{name}.py").write_text("def double(x):\n    return 2 * x\n")

    class Finder:
        @staticmethod
        def find_spec(wanted, path=None, target=None):
            file = tmp_path / "src" / f"{wanted}.py"
            return spec_from_file_location(wanted, file) if wanted == name else None

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder])
    module = importlib.import_module(name)
    monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, name, module)  # gone afterwards

    assert engines.map(module.double, range(4)) == [0, 2, 4, 6]
