"""Engines run the code that this process has, also after files were edited."""

from __future__ import annotations

import atexit
import os
import sys
import warnings

import pytest

from nbpar.errors import StaleModuleWarning
from nbpar.wire.modules.reach import reach_of_this_process
from nbpar.wire.pickling import pack_one


@pytest.fixture
def told():
    """Warnings that runs show."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield caught


def test_a_module_that_was_edited_and_reloaded_here_is_reloaded_there(any_pool, folder, name, told):
    module = folder.load(name, "def f(x): return 'old'")
    assert set(any_pool.each(module.f, 0)) == {"old"}

    module = folder.load(name, "def f(x): return 'new'")

    assert set(any_pool.each(module.f, 0)) == {"new"}
    assert not told


def test_several_edits_within_a_second_all_count(pool, folder, name):
    for number in range(5):
        module = folder.load(name, f"V = {number}\ndef f(x): return V")
        assert set(pool.each(module.f, 0)) == {number}


def test_an_edit_that_this_process_has_not_loaded_changes_nothing(pool, folder, name, told):
    module = folder.load(name, "V = 1\ndef f(x): return V, 'old'")
    pool.each(module.f, 0)

    folder.write(name, "V = 2\ndef f(x): return V, 'new'")

    assert set(pool.each(module.f, 0)) == {module.f(0)} == {(1, "old")}
    assert not told


def test_when_an_engine_has_code_that_this_process_does_not_the_module_is_named(pool, folder, name, told):
    module = folder.load(name, "def f(x): return 'old'")
    reach_of_this_process().of(pack_one(module.f))  # as an earlier run has done
    folder.write(name, "def f(x): return 'new'")

    pool.each(module.f, 0)

    (warning,) = told
    assert warning.category is StaleModuleWarning
    assert f"module {name!r} was edited after the notebook had imported it" in str(warning.message)
    assert warning.filename == module.__file__


def test_modules_are_reloaded_before_those_that_import_them(pool, folder, name, told):
    inner, middle = f"{name}_inner", f"{name}_middle"
    folder.load(inner, "SCALE = 1\ndef g(x): return x * SCALE")
    folder.load(middle, f"from {inner} import g\ndef h(x): return g(x)")
    outer = folder.load(name, f"import {middle} as m\nfrom {middle} import h\ndef f(x): return h(x), m.h(x)")
    assert pool.map(outer.f, [1, 2]) == [(1, 1), (2, 2)]

    folder.load(inner, "SCALE = 10\ndef g(x): return x * SCALE")
    for other in (middle, name):
        folder.load(other, (folder.path / f"{other}.py").read_text())

    assert pool.map(outer.f, [1, 2]) == [(10, 10), (20, 20)]
    assert not told


def test_parts_of_a_package_with_relative_imports_are_reloaded(pool, folder, name):
    folder.load(f"{name}.__init__".removesuffix(".__init__") + ".__init__", "")
    folder.load(f"{name}.part", "def g(): return 'old'")
    top = folder.load(
        f"{name}.top", "from .part import g\nfrom . import part\ndef f(x): return g(), part.g()"
    )
    assert pool.map(top.f, [0]) == [("old", "old")]

    folder.load(f"{name}.part", "def g(): return 'new'")
    top = folder.load(f"{name}.top", (folder.path / name / "top.py").read_text())

    assert pool.map(top.f, [0]) == [("new", "new")]


def test_what_a_function_captures_counts(pool, folder, name):
    module = folder.load(name, "class Model:\n    def say(self): return 'old'")
    model = module.Model()
    assert pool.map(lambda x: model.say(), [0]) == ["old"]

    module = folder.load(name, "class Model:\n    def say(self): return 'new'")
    model = module.Model()

    assert pool.map(lambda x: model.say(), [0]) == ["new"]


def test_a_module_that_only_items_import_counts(pool, folder, name):
    names = {}
    exec(f"def work(x):\n    import {name}\n    return {name}.V", names)
    work = names["work"]
    folder.write(name, "V = 1")
    assert set(pool.each(work, 0)) == {1}

    folder.write(name, "V = 2")

    assert name not in sys.modules
    assert set(pool.each(work, 0)) == {2}


def test_a_module_that_cannot_be_reloaded_is_named_and_the_run_goes_on(pool, folder, name, told):
    module = folder.load(name, "def f(x): return 'old'")
    assert set(pool.each(module.f, 0)) == {"old"}

    module = folder.load(
        name,
        f"import os\nif os.getpid() != {os.getpid()}: raise RuntimeError('not here')\ndef f(x): return 'new'",
    )

    assert set(pool.each(module.f, 0)) == {"old"}
    texts = {str(warning.message) for warning in told}
    assert all(warning.category is StaleModuleWarning for warning in told)
    assert any(f"module {name!r} was edited and could not be reloaded" in text for text in texts)
    assert any("RuntimeError: not here" in text for text in texts)


def test_a_background_run_keeps_what_is_said_of_stale_modules(pool, folder, name, told):
    module = folder.load(name, "def f(x): return 'old'")
    pool.each(module.f, 0)
    module = folder.load(name, f"import os\nassert os.getpid() == {os.getpid()}\ndef f(x): return 'new'")

    run = pool.map_async(module.f, [0, 1], chunksize=1)
    run.get()

    assert not told
    assert name in str(run.output)


def test_what_a_module_holds_stays_while_nobody_edits_it(pool, folder, name):
    module = folder.load(name, "seen = []\ndef f(x):\n    seen.append(x)\n    return len(seen)")

    assert set(pool.each(module.f, 0)) == {1}
    assert set(pool.each(module.f, 0)) == {2}


def test_a_touched_file_is_not_reloaded(pool, folder, name):
    text = "seen = []\ndef f(x):\n    seen.append(x)\n    return len(seen)"
    module = folder.load(name, text)
    pool.each(module.f, 0)

    folder.write(name, text)

    assert set(pool.each(module.f, 0)) == {2}


def test_installed_packages_are_left_alone(pool):
    import json

    def work(x):
        json.marker = getattr(json, "marker", 0) + 1
        return json.marker

    before = pool.each(work, 0)

    assert pool.each(work, 0) == [marker + 1 for marker in before]


@pytest.mark.parametrize("edit", ["V = 1\ndef f(x): return V, 'new'", "V = 2\ndef f(x): return V, 'old'"])
def test_autoreload_here_is_enough(pool, folder, name, edit, monkeypatch, tmp_path):
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    name += "a" if "new" in edit else "b"
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    config = Config()
    config.HistoryManager.enabled = False
    shell = InteractiveShell.instance(config=config)
    try:
        shell.user_ns["pool"] = pool
        shell.run_cell("%load_ext autoreload\n%autoreload 2").raise_error()
        folder.write(name, "V = 1\ndef f(x): return V, 'old'")
        shell.run_cell(f"import {name} as m\nfrom {name} import f").raise_error()
        before = shell.run_cell("pool.map(m.f, range(2)), [m.f(0)] * 2")

        folder.write(name, edit)
        os.utime(sys.modules[name].__file__, (2**31, 2**31))  # it compares times with those of bytecode
        after = shell.run_cell("pool.map(m.f, range(2)), [m.f(0)] * 2")

        assert before.result[0] == before.result[1] == [(1, "old")] * 2
        assert after.result[0] == after.result[1] != before.result[1]
    finally:
        shell.restore_sys_module_state()
        atexit.unregister(shell.atexit_operations)  # it would keep the shell, and collect garbage at the end
        InteractiveShell.clear_instance()
