"""A cached pickle is renewed as soon as anything changes that the function depends on."""

from __future__ import annotations

import gc
import importlib
import math
import sys
import weakref
from types import ModuleType

import pytest
from user_code import press_ctrl_c

from nbpar.wire.pickle_cache import MOST, Kept, state_of
from nbpar.wire.pickling import pack_one, unpack_one

WORLD = {"__name__": "__main__", "math": math}


def defined(text, name="work", **names):
    """Define a function as a notebook does."""
    world = {**WORLD, **names}
    exec(text, world)
    return world[name]


@pytest.fixture
def kept():
    return Kept()


def packed(kept, function):
    return kept.made(function, lambda: pack_one(function), lambda made: made.nbytes)


@pytest.mark.parametrize(
    "text",
    [
        "def work(n): return n",
        "def work(n, m=3, *, k='a'): return math.sqrt(n) + m",
        "def work(n: int) -> float: return other(n)\ndef other(n): return n + 1",
        "def work(n): return work(n - 1) if n else 0",
        "def outer():\n    m = 3\n    def work(n): return n + m\n    return work\nwork = outer()",
        "work = lambda n: [math.sqrt(m + limit) for m in range(n)]\nlimit = 4",
        "from fractions import Fraction\ndef work(n): return Fraction(n)",
    ],
)
def test_a_function_that_depends_on_nothing_that_changes_is_pickled_once(kept, text):
    work = defined(text)

    assert packed(kept, work) is packed(kept, work)


@pytest.mark.parametrize(
    "text",
    [
        "def work(n): return seen\nseen = []",
        "def work(n): return seen\nseen = (1, [])",
        "def work(n, seen=[]): return seen",
        "def work(n): return other()\ndef other(): return seen\nseen = {}",
        "def outer():\n    m = [3]\n    def work(n): return m\n    return work\nwork = outer()",
        "class Model: pass\ndef work(n): return Model",
        "class Model: pass\nmodel = Model()\ndef work(n): return model",
        "def work(n): return n\nwork.seen = []",
        "class Model:\n    def work(self): return 1\nwork = Model().work",
        "class Model:\n    def __call__(self): return 1\nwork = Model()",
        "import functools\nwork = functools.partial(print, [])",
        "append = [].append\ndef work(n): append(n)",
        "class Number(int): pass\nnumber = Number(3)\ndef work(n): return number",
    ],
)
def test_a_function_that_depends_on_what_may_change_unseen_is_pickled_each_time(text):
    assert state_of(defined(text)) is None


CHANGES = {
    "a global": "globals_['limit'] = 5",
    "a global of another type that is equal": "globals_['limit'] = 4.0",
    "a global that is deleted": "del globals_['limit']",
    "a global where there was none": "globals_['missing'] = 1",
    "a global of a function that it calls": "globals_['inner'] = 7",
    "a function that it calls": "globals_['other'] = lambda n: n",
    "code": "work.__code__ = (lambda n, m=3: m).__code__",
    "code of a function that it calls": "globals_['other'].__code__ = (lambda n: n).__code__",
    "a default": "work.__defaults__ = (4,)",
    "no defaults": "work.__defaults__ = None",
    "an attribute": "work.note = 1",
    "its name": "work.__name__ = 'other'",
    "its documentation": "work.__doc__ = 'other'",
    "an annotation": "work.__annotations__['n'] = str",
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_is_seen(kept, change):
    work = defined(
        "def work(n: int, m=3): return other(n) + limit + missing\ndef other(n): return n + inner\n"
        "limit = 4\ninner = 6"
    )
    before = packed(kept, work)

    exec(change, {"work": work, "globals_": work.__globals__})

    assert packed(kept, work) is not before
    assert unpack_one(packed(kept, work)).__code__ == work.__code__


def test_a_cell_that_is_filled_anew_is_seen(kept):
    work = defined(
        "def outer():\n    m = 3\n    def work(n): return m\n    def fill(new):\n"
        "        nonlocal m\n        m = new\n    work.fill, fill = None, fill\n    del work.fill\n"
        "    return work, fill\nwork = outer()"
    )
    function, fill = work
    before = packed(kept, function)

    fill(4)

    assert unpack_one(before)(0) == 3
    assert unpack_one(packed(kept, function))(0) == 4


def test_a_module_that_is_not_imported_any_more_is_not_settled(monkeypatch):
    module = ModuleType("made_here")
    monkeypatch.setitem(sys.modules, "made_here", module)
    work = defined("def work(n): return made_here", made_here=module)
    settled = state_of(work) is not None

    monkeypatch.delitem(sys.modules, "made_here")

    assert settled
    assert state_of(work) is None


def test_a_submodule_that_is_imported_meanwhile_is_seen(kept, tmp_path, monkeypatch):
    (tmp_path / "kept_package").mkdir()
    (tmp_path / "kept_package" / "__init__.py").touch()
    (tmp_path / "kept_package" / "late.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    package = importlib.import_module("kept_package")
    work = defined("def work(n): return kept_package.late", kept_package=package)
    before = packed(kept, work)

    importlib.import_module("kept_package.late")

    assert packed(kept, work) is not before
    for name in ("kept_package", "kept_package.late"):
        del sys.modules[name]


def test_a_module_whose_attributes_cannot_be_read_only_costs_time(kept, monkeypatch):
    class Odd(ModuleType):
        def __getattr__(self, name):
            raise OSError(name)

    monkeypatch.setitem(sys.modules, "odd_module", Odd("odd_module"))
    work = defined("def work(n): return n")
    work.__module__ = "odd_module"

    assert kept.made(work, lambda: "made", len) == "made"


def test_large_pickles_are_not_kept(kept):
    work = defined("def work(n): return large", large="a" * (1 << 17))

    assert packed(kept, work) is not packed(kept, work)


def test_functions_are_not_kept_alive(kept):
    work = defined("def work(n): return work(n - 1)")
    packed(kept, work)
    gone = weakref.ref(work)

    del work
    gc.collect()

    assert gone() is None


def test_few_functions_are_kept(kept):
    works = [defined("def work(n): return n") for _ in range(3 * MOST)]

    for work in works:
        packed(kept, work)

    assert len(kept._known) == MOST
    assert packed(kept, works[-1]) is packed(kept, works[-1])


def test_a_function_with_a_cell_that_is_empty_yet_is_kept_until_it_is_filled(kept):
    def outer():
        def work():
            return later

        made = packed(kept, work), packed(kept, work), state_of(work)
        later = 1
        return made, packed(kept, work)

    (first, second, state), filled = outer()

    assert first is second
    assert state is not None
    assert unpack_one(filled)() == 1


def test_ctrl_c_while_a_function_is_looked_at_is_not_swallowed(kept, monkeypatch):
    module = ModuleType("slow")
    module.__getattr__ = press_ctrl_c
    del module.__name__
    monkeypatch.setitem(sys.modules, "slow", module)

    with pytest.raises(KeyboardInterrupt):
        packed(kept, defined("def work(n): return slow.value", slow=module))
