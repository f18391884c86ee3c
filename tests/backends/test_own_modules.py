"""What is found of the user's modules for a worker that asks."""

import importlib
import sys
import sysconfig
from importlib.machinery import EXTENSION_SUFFIXES, PathFinder
from importlib.util import spec_from_file_location

import pytest

from nbpar.backends.engines import own_modules
from nbpar.backends.engines.own_modules import OwnModules
from nbpar.wire.messages import SeekModule
from nbpar.wire.modules.reach import Reach


@pytest.fixture
def reach():
    return Reach()


@pytest.fixture
def ask(reach):
    """Ask as a worker does."""
    own = OwnModules(reach)
    return lambda name, *, files=False: own.answer(SeekModule(7, name, files))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def write(file, text=""):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_a_module_comes_with_its_packages_and_what_they_import(ask, folder, reach):
    write(folder / "own_pack/__init__.py", "from . import first\n")
    write(folder / "own_pack/first.py", "import os, numpy, own_alone\nfrom .deep.second import x\n")
    write(folder / "own_pack/deep/second.py", "def f():\n    from own_late import g\n")
    write(folder / "own_pack/unused.py")
    write(folder / "own_alone.py", "import own_pack.first  # a circle\n")
    write(folder / "own_late.py")

    found = ask("own_pack.first")

    names = {name: (file, package) for name, _, file, package, _ in found.modules}
    assert names == {
        "own_pack": (str(folder / "own_pack/__init__.py"), True),
        "own_pack.first": (str(folder / "own_pack/first.py"), False),
        "own_pack.deep": ("", True),
        "own_pack.deep.second": (str(folder / "own_pack/deep/second.py"), False),
        "own_alone": (str(folder / "own_alone.py"), False),
        "own_late": (str(folder / "own_late.py"), False),
    }
    assert (found.number, found.refusal) == (7, "")
    assert not names.keys() & sys.modules.keys()  # it imports nothing
    assert set(reach.carried) == names.keys() - {"own_pack.deep"}


@pytest.mark.parametrize(
    "name", ["os", "sys", "numpy", "numpy.linalg", "nbpar", "nbpar.core.text", "", "no_such"]
)
def test_what_is_installed_or_missing_is_not_sent(ask, name):
    found = ask(name)

    assert (found.modules, found.refusal) == ((), "")


def test_an_editable_install_is_the_users_own(ask, tmp_path, monkeypatch):
    write(tmp_path / "src/editable_one/__init__.py", "import numpy\n")

    class Finder:
        """As setuptools makes one for an editable install."""

        @staticmethod
        def find_spec(name, path=None, target=None):
            if name == "editable_one":
                return spec_from_file_location(name, tmp_path / "src/editable_one/__init__.py")
            return None

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder, object()])

    assert [name for name, *_ in ask("editable_one").modules] == ["editable_one"]


def test_the_source_that_runs_here_is_sent_and_not_a_later_edit(ask, folder, reach):
    write(folder / "own_edited.py", "def f(): return 1\n")
    try:
        import own_edited

        reach.versions.loaded("own_edited")
        write(folder / "own_edited.py", "def f(): return 22\n")
        found = ask("own_edited")
    finally:
        del sys.modules["own_edited"]

    assert own_edited.f() == 1
    assert [source for _, source, *_ in found.modules] == [b"def f(): return 1\n"]


def test_a_compiled_module_is_refused_with_its_file(ask, folder):
    file = folder / f"own_fast{EXTENSION_SUFFIXES[0]}"
    write(file)

    found = ask("own_fast")

    assert found.modules == ()
    assert f"'own_fast' is compiled ({file})" in found.refusal


def test_a_finder_that_fails_is_the_reason(ask, monkeypatch):
    class Bad:
        @staticmethod
        def find_spec(name, path=None, target=None):
            raise SystemExit(f"no {name}")

    monkeypatch.setattr(sys, "meta_path", [Bad, PathFinder])

    assert "looking for 'own_none' failed here: SystemExit: no own_none" in ask("own_none").refusal


def test_much_source_is_sent_in_parts(ask, folder, monkeypatch):
    monkeypatch.setattr(own_modules, "MOST", 10)
    write(folder / "own_long.py", "import own_longer\n")
    write(folder / "own_longer.py")

    assert [name for name, *_ in ask("own_long").modules] == ["own_long"]
    assert [name for name, *_ in ask("own_longer").modules] == ["own_longer"]


def test_a_long_search_for_imports_ends_early(ask, folder, monkeypatch):
    monkeypatch.setattr(own_modules, "MOST_SECONDS", 0.0)
    write(folder / "own_slow.py", "import own_slower\n")
    write(folder / "own_slower.py")

    assert [name for name, *_ in ask("own_slow").modules] == ["own_slow"]


def test_the_answer_to_the_next_worker_is_ready_until_a_module_changes(ask, folder, monkeypatch):
    write(folder / "own_again.py", "import own_base\n")
    write(folder / "own_base.py", "V = 1\n")
    first = ask("own_again")

    with monkeypatch.context() as patch:
        patch.setattr(OwnModules, "_closure", None)
        assert ask("own_again") == first
    write(folder / "own_base.py", "V = 22\n")

    assert [source for _, source, *_ in ask("own_again").modules] == [b"import own_base\n", b"V = 22\n"]


def test_what_an_imported_module_uses_comes_along(ask, folder):
    write(folder / "own_used.py", "def f(): return 1\n")
    write(folder / "own_user.py", "import numpy\nfrom own_used import f\n")
    try:
        importlib.import_module("own_user")

        assert [name for name, *_ in ask("own_user").modules] == ["own_user", "own_used"]
    finally:
        for name in ("own_user", "own_used"):
            del sys.modules[name]


def test_data_files_are_those_that_are_no_code(ask, folder):
    pack = folder / "own_data"
    for name in (
        "__init__.py",
        "sub/more.py",
        "a.txt",
        "sub/b.json",
        ".hidden",
        ".git/x",
        "__pycache__/x.txt",
    ):
        write(pack / name, name)
    write(pack / f"fast{EXTENSION_SUFFIXES[0]}")

    assert ask("own_data", files=True).files == (("a.txt", b"a.txt"), ("sub/b.json", b"sub/b.json"))


@pytest.mark.parametrize(("limit", "at_most"), [("MOST_FILES", 3), ("MOST_ENTRIES", 1)])
def test_too_many_data_files_stay_here_and_the_reason_is_told(ask, folder, monkeypatch, limit, at_most):
    monkeypatch.setattr(own_modules, limit, at_most)
    for name in ("__init__.py", "a.txt", "b.txt"):
        write(folder / "own_much" / name, name)

    found = ask("own_much", files=True)

    assert found.files == ()
    assert "data files of package 'own_much' are more than" in found.refusal


def test_a_folder_of_an_installed_package_is_not_the_users(ask, monkeypatch, tmp_path):
    site = tmp_path / "site-packages"
    write(site / "spaced/part.py")
    monkeypatch.syspath_prepend(site)

    assert ask("spaced").modules == ask("spaced.part").modules == ()
    assert sysconfig.get_paths()["purelib"] not in str(site)
