"""The version of a module that a process runs is inferred."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from user_code import leave, press_ctrl_c

import nbpar.pool.pool
from nbpar.wire.modules import reach as reach_module
from nbpar.wire.modules import versions
from nbpar.wire.modules.reach import Reach, named
from nbpar.wire.modules.sources import carried_over, imports_of, reload_order, same_functions
from nbpar.wire.modules.versions import OLDER, Versions, digest_of
from nbpar.wire.pickling import pack_one


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


@pytest.mark.parametrize("source", [b"import", b"\0", b"\xff"])
def test_a_source_that_is_not_valid_imports_nothing_and_has_no_functions(source):
    assert imports_of(source, "p") == set()
    assert not same_functions({}, source)


def test_an_object_that_has_every_attribute_is_no_function():
    class Everything:
        def __getattr__(self, name):
            return self

    assert same_functions({"f": Everything()}, b"def f(): return 1")


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
    assert nbpar.pool.pool.__file__
    assert [name for name in ("json", "numpy", "nbpar.pool.pool", "sys") if versions.source_of(name)] == []


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


def test_calls_that_follow_each_other_share_a_look_at_the_files(module, monkeypatch):
    now = [0.0]
    reach, packed = Reach(clock=lambda: now[0]), pack_one(module.f)
    looked, loaded = [], reach.versions.loaded
    monkeypatch.setattr(reach.versions, "loaded", lambda name: looked.append(name) or loaded(name))

    found = [reach.of_call(packed, b"f") for _ in range(100)]
    assert found == [reach.of(packed)] * 100
    assert len(looked) == 2
    now[0] += reach_module.BRIEFLY
    reach.of_call(packed, b"f")
    assert len(looked) == 3
    reach.of_call(packed, b"another function")
    assert len(looked) == 4


def test_a_reload_is_seen_between_calls_that_follow_each_other(module):
    reach, packed = Reach(clock=lambda: 0.0), pack_one(module.f)
    before = reach.of_call(packed, b"f")
    edit(module, "def f(): return 2\n")

    assert reach.of_call(packed, b"f") == before
    importlib.reload(module)
    assert reach.of_call(packed, b"f") == (("edited_here", digest_of(b"def f(): return 2\n")),)


def test_an_import_is_seen_between_calls_that_follow_each_other(module, tmp_path):
    reach, packed = Reach(clock=lambda: 0.0), pack_one(("edited_here", "comes_later"))
    before = reach.of_call(packed, b"f")
    (tmp_path / "comes_later.py").touch()

    importlib.import_module("comes_later")

    try:
        assert [name for name, _ in before] == ["edited_here"]
        assert [name for name, _ in reach.of_call(packed, b"f")] == ["comes_later", "edited_here"]
    finally:
        del sys.modules["comes_later"]


def test_what_a_loader_has_changed_is_not_compared(module):
    edit(module, "def f(): return 2\n")
    module.__spec__.loader = type("Rewriting", (), {})()

    assert Versions().loaded("edited_here") == digest_of(b"def f(): return 2\n")


def test_a_module_that_was_removed_is_forgotten(module):
    seen = Versions()
    assert "edited_here" in seen.files

    with_it = sys.modules.pop("edited_here")
    try:
        assert "edited_here" not in seen.files
        assert seen.loaded("edited_here") == OLDER
    finally:
        sys.modules["edited_here"] = with_it


def test_what_is_no_module_of_the_user_has_no_version_and_no_source():
    seen = Versions()

    for name in ("json", "no_such_module"):
        assert (seen.loaded(name), seen.on_disk(name)) == (OLDER, OLDER)
        assert (seen.source(name), seen.running(name)) == (b"", b"")
        seen.note_reload(name)
        assert seen.runs(name, OLDER)


def test_a_reload_takes_the_source_from_the_disk(module):
    seen, new = Versions(), b"def f(): return 2\n"
    seen.loaded("edited_here")
    edit(module, new.decode())
    assert (seen.source("edited_here"), seen.running("edited_here")) == (new, b"def f(): return 1\n")
    assert not seen.runs("edited_here", digest_of(new))

    seen.on_disk("edited_here")
    seen.note_reload("edited_here")

    assert seen.running("edited_here") == new
    assert seen.runs("edited_here", digest_of(new))


def test_what_has_been_imported_just_now_runs_what_is_on_the_disk(module):
    edit(module, "def f(): return 2\n")  # as if by a loader that is faster than the clock of files
    seen = Versions()

    seen.note_imports()

    assert seen.loaded("edited_here") == digest_of(b"def f(): return 2\n")
    assert seen.running("edited_here") == b"def f(): return 2\n"


def test_a_module_that_cannot_be_read_when_it_is_first_seen_is_no_obstacle(module, monkeypatch):
    module.__spec__ = None
    del module.__spec__
    seen = Versions()

    seen.note_imports()

    assert seen.loaded("edited_here") == OLDER
    assert "edited_here" not in seen.files


def test_a_file_that_was_only_touched_is_the_same_version(module):
    seen = Versions()
    first = seen.loaded("edited_here")

    edit(module, "def f(): return 1\n")

    assert seen.loaded("edited_here") == first == seen.on_disk("edited_here")


def test_a_module_that_was_loaded_anew_is_compared_again(module):
    seen = Versions()
    first = seen.loaded("edited_here")
    edit(module, "def f(): return 2\n")
    assert seen.loaded("edited_here") == first

    importlib.invalidate_caches()
    Path(importlib.util.cache_from_source(module.__file__)).unlink(missing_ok=True)
    importlib.reload(module)
    assert seen.loaded("edited_here") == digest_of(b"def f(): return 2\n")

    edit(module, "def f(): return 3\n")
    module.__spec__ = importlib.util.find_spec("json")
    assert seen.loaded("edited_here") == OLDER


def test_a_file_that_cannot_be_read_any_more_changes_nothing(module, monkeypatch):
    seen, never_seen = Versions(), Versions()
    first = seen.loaded("edited_here")
    edit(module, "def f(): return 2\n")

    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(versions, "open", refuse, raising=False)

    assert seen.loaded("edited_here") == first
    assert never_seen.loaded("edited_here") == OLDER


class Lazy(types.ModuleType):
    """A module that runs code when it is asked for something."""

    def __getattribute__(self, name):
        if name in ("__spec__", "__file__"):
            return self.act(name)
        return super().__getattribute__(name)


@pytest.fixture
def lazy(tmp_path, monkeypatch):
    module = Lazy("lazy_here")
    module.__dict__["__file__"] = str(tmp_path / "lazy_here.py")
    Path(tmp_path, "lazy_here.py").write_text("")
    monkeypatch.setitem(sys.modules, "lazy_here", module)
    return module


def test_a_module_that_cannot_be_looked_at_is_left_alone(lazy):
    lazy.act = leave

    assert "lazy_here" not in Versions().files
    assert Versions().runs("lazy_here", OLDER)
    lazy.act = lambda name: vars(lazy)["__file__"] if name == "__file__" else leave()
    seen = Versions()
    assert seen.loaded("lazy_here") == OLDER
    assert "lazy_here" not in seen.files


@pytest.mark.parametrize("name", ["__spec__", "__file__"])
def test_ctrl_c_while_modules_are_looked_at_is_not_swallowed(lazy, name):
    lazy.act = lambda asked: press_ctrl_c() if asked == name else vars(lazy)["__file__"]

    with pytest.raises(KeyboardInterrupt):
        Versions().loaded("lazy_here")


# ---- reach


def test_a_function_reaches_the_modules_that_its_module_uses(module, tmp_path):
    for name, text in {
        "uses_others": "import edited_here\nfrom also_here import g\ndef h(): return g()",
        "also_here": "import uses_others\nimport json\ndef g(): return 1",
    }.items():
        (tmp_path / f"{name}.py").write_text(text)
    try:
        import uses_others

        found = dict(Reach().of(pack_one(uses_others.h)))
    finally:
        for name in ("uses_others", "also_here"):
            del sys.modules[name]

    assert sorted(found) == ["also_here", "edited_here", "uses_others"]
    assert found["edited_here"] == digest_of(b"def f(): return 1\n")


@pytest.mark.parametrize(("act", "error"), [(leave, None), (press_ctrl_c, KeyboardInterrupt)])
def test_a_module_whose_names_cannot_be_read_reaches_no_other(module, monkeypatch, act, error):
    monkeypatch.setattr(reach_module, "neighbors", act)
    packed = pack_one(module.f)

    if error is not None:
        with pytest.raises(error):
            Reach().of(packed)
        return
    assert [name for name, _ in Reach().of(packed)] == ["edited_here"]


def test_modules_that_workers_have_asked_for_count_for_every_run(module, tmp_path):
    other = tmp_path / "only_there.py"
    other.write_text("V = 1\n")
    here = Reach()
    here.carried = {
        "only_there": str(other),
        "edited_here": module.__file__,
        "gone": str(tmp_path / "gone.py"),
    }

    first = dict(here.with_carried(pack_one(len)))
    again = dict(here.with_carried(pack_one(module.f)))
    other.write_text("V = 22\n")
    edited = dict(here.with_carried(pack_one(len)))

    version = digest_of(b"def f(): return 1\n")
    assert first == again == {"only_there": digest_of(b"V = 1\n"), "edited_here": version}
    assert edited["only_there"] == digest_of(b"V = 22\n")
    assert here.of(pack_one(len)) == ()


def test_the_reach_of_this_process_knows_when_it_began():
    assert reach_module.reach_of_this_process() is reach_module.reach_of_this_process()


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"c"}, ["c", "b", "a"]),
        ({"a"}, ["a"]),
        ({"d"}, ["e", "d"]),
        (set(), []),
    ],
)
def test_modules_are_reloaded_before_their_importers(changed, expected):
    imports = {"a": {"b", "c"}, "b": {"c"}, "c": {"json"}, "d": {"e"}, "e": {"d"}}

    assert reload_order(changed, imports) == expected
