"""Which version of a module a process runs is found out without being told."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

import nbpar.pool
from nbpar.wire import versions
from nbpar.wire.freshness import Reach, named
from nbpar.wire.pickling import pack_one
from nbpar.wire.sources import carried_over, imports_of, same_functions
from nbpar.wire.versions import OLDER, Versions, digest_of


def load(text: str) -> dict:
    names: dict = {"__name__": "m"}
    exec(compile(text, "m.py", "exec"), names)
    return names


# ---- sources


def test_functions_are_the_same_wherever_they_stand():
    names = load("def f(): return 1\nclass A:\n    def g(self): return 'x'")

    assert same_functions(names, b"# a line\n\ndef f():\n    return 1\nclass A:\n    def g(self): return 'x'")


@pytest.mark.parametrize(
    "source",
    [
        b"def f(): return 2",
        b"def f(): return g(1)",
        b"def f(x=1): return 1\nclass A:\n    def g(self): return 'y'",
        b"class A:\n    def g(self): return 'y'",
        b"def f(:",
    ],
)
def test_other_functions_are_seen(source):
    names = load("def f(): return 1\nclass A:\n    def g(self): return 'x'")

    assert not same_functions(names, source)


def test_a_decorated_function_is_compared_by_what_it_wraps():
    text = (
        "import functools\ndef d(f):\n    @functools.wraps(f)\n    def w(): return f()\n    return w\n"
        "@d\ndef f(): return %d"
    )

    assert same_functions(load(text % 1), (text % 1).encode())
    assert not same_functions(load(text % 1), (text % 2).encode())


def test_functions_that_one_of_both_does_not_have_say_nothing():
    assert same_functions(load("def f(): return 1"), b"def g(): return 2")


@pytest.mark.parametrize(
    ("has", "old", "new", "expected"),
    [
        ("def f(): return 2", "def f(): return 1", "def f(): return 2", True),
        ("def f(): return 1", "def f(): return 1", "def f(): return 2", False),
        ("V = 2", "V = 1", "V = 2", True),
        ("V = 1", "V = 1", "V = 2", False),
        ("V = ['1']", "V = list('1')", "V = list('2')", False),
        ("def f(): return 1", "def f(): return 1", "# said\ndef f(): return 1", True),
        ("def f(): return 1", "def f(): return 1", "def f(", False),
    ],
)
def test_what_was_carried_over_is_known_by_what_has_changed(has, old, new, expected):
    assert carried_over(load(has), old.encode(), new.encode()) is expected


def test_imports_are_found_wherever_they_stand():
    source = b"import a.b\nfrom c import d\ndef f():\n    from . import e\n    from ..g import h"

    assert imports_of(source, "p.q") == {"a.b", "c", "c.d", "p.q", "p.q.e", "p.g", "p.g.h"}


# ---- versions


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module whose file this test edits."""
    path = tmp_path / "edited_here.py"
    path.write_text("def f(): return 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import edited_here

    yield edited_here
    del sys.modules["edited_here"]


def edit(module, text):
    file = Path(module.__file__)
    file.write_text(text)
    now = file.stat().st_mtime_ns + 10**9
    os.utime(file, ns=(now, now))


def test_the_first_sight_of_a_module_compares_it_with_its_file(module):
    edit(module, "def f(): return 2\n")

    assert Versions().loaded("edited_here") == OLDER


def test_a_file_that_is_older_than_the_process_was_not_edited(module):
    edit(module, "def f(): return 2\n")

    assert Versions(born=2**40).loaded("edited_here") == digest_of(b"def f(): return 2\n")


def test_a_version_stays_until_the_module_changes(module):
    seen = Versions()
    first = seen.loaded("edited_here")
    edit(module, "def f(): return 2\n")

    assert seen.loaded("edited_here") == first != seen.on_disk("edited_here")
    module.f.__code__ = (lambda: 2).__code__.replace(co_name="f")
    assert seen.loaded("edited_here") == seen.on_disk("edited_here")


def test_a_module_whose_file_is_gone_stays_what_it_was(module):
    seen = Versions()
    first = seen.loaded("edited_here")
    Path(module.__file__).unlink()

    assert seen.loaded("edited_here") == first


def test_installed_and_own_modules_are_not_the_users(module):
    assert versions.source_of("edited_here") == module.__file__
    assert json.__file__
    assert np.__file__
    assert nbpar.pool.__file__
    assert [name for name in ("json", "numpy", "nbpar.pool", "sys") if versions.source_of(name)] == []


def test_names_in_a_pickle_are_found_whole():
    head = pack_one(("helpers", "other.part")).head

    assert named(head, ["helpers", "help", "other", "other.part", "x"]) == ["helpers", "other.part"]


def test_an_unchanged_set_of_modules_costs_one_look_at_each_file(module, monkeypatch):
    reach, packed = Reach(), pack_one(module.f)
    first = reach.of(packed)
    looked = []
    stat = os.stat
    monkeypatch.setattr(versions.os, "stat", lambda file: looked.append(file) or stat(file))
    monkeypatch.setattr(versions, "digest_of", None)

    assert reach.of(packed) == first == (("edited_here", digest_of(b"def f(): return 1\n")),)
    assert looked == [module.__file__]


def test_what_a_loader_has_changed_is_not_compared(module):
    edit(module, "def f(): return 2\n")
    module.__spec__.loader = type("Rewriting", (), {})()

    assert Versions().loaded("edited_here") == digest_of(b"def f(): return 2\n")
