"""The packages that a function certainly imports."""

import functools
import sys
from importlib import metadata
from types import FunctionType

import numpy as np
import pytest
from numpy.linalg import norm

from nbpar.pool import packages
from nbpar.pool.packages import packages_of
from nbpar.wire.modules.reach import Reach


def used(function, modules=(), reach=None):
    return [package.module for package in packages_of(function, modules, reach or Reach())]


def as_in_a_notebook(function):
    """Let a function be one that is sent by value."""
    function.__module__ = "__main__"
    return function


def imports_first(x):
    import json

    import dateutil
    import numpy as np

    return dateutil, json, np, x


def imports_later(x):
    if x:
        import numpy as np

        return np
    return x


def tries(x):
    try:
        import numpy as np
    except ImportError:
        np = None
    return np


def helper(x):
    return np.sum(x)


CASES = {
    "a module among its globals": lambda x: np.abs(x) + 1,
    "a function of a module": lambda x: norm(x) + 1,
    "a function that it calls": lambda x: helper(x) + 1,
    "imports at its beginning": imports_first,
}


@pytest.mark.parametrize("what", CASES)
def test_what_it_needs_is_found(what):
    as_in_a_notebook(helper)
    (*_, package) = packages_of(as_in_a_notebook(CASES[what]), (), Reach())

    assert package == ("numpy", "numpy", metadata.version("numpy"))


@pytest.mark.parametrize("function", [imports_later, tries, len, lambda: 1, functools.partial(print, 1)])
def test_what_it_may_do_without_is_not(function):
    if isinstance(function, FunctionType):
        as_in_a_notebook(function)

    assert used(function) == []


def test_the_distribution_may_have_another_name():
    (package, _) = packages_of(as_in_a_notebook(imports_first), (), Reach())

    assert package == ("dateutil", "python-dateutil", metadata.version("python-dateutil"))


@pytest.mark.parametrize(
    "function",
    [functools.partial(np.add, 1), functools.partial(print, np.float64(1)), np.ndarray, np.add],
    ids=str,
)
def test_objects_that_are_called_count_as_well(function):
    assert used(function) == ["numpy"]


def test_modules_of_the_user_need_what_they_import_at_the_top(tmp_path, monkeypatch):
    (tmp_path / "needs_it.py").write_text(
        "import numpy.linalg\nfrom . import other\nif True:\n    import yaml\n"
        "try:\n    import zmq\nexcept ImportError:\n    pass\ndef f():\n    import yaml\n"
    )
    (tmp_path / "broken_one.py").write_text("def f(")
    monkeypatch.syspath_prepend(tmp_path)
    reach = Reach()
    monkeypatch.setattr(
        reach.versions, "running", lambda name: (tmp_path / f"{name}.py").read_bytes(), raising=True
    )

    assert used(len, (("broken_one", b""), ("needs_it", b"")), reach) == ["numpy"]


def test_what_cannot_be_inspected_has_none(monkeypatch):
    def fail(*_):
        raise SystemExit

    monkeypatch.setattr(packages, "_used_by", fail)

    assert packages_of(len, (), Reach()) == ()


def test_what_no_distribution_brings_is_left_out(tmp_path, monkeypatch):
    site = tmp_path / "site-packages"
    (site / "unlabeled").mkdir(parents=True)
    (site / "unlabeled" / "__init__.py").write_text("def f(): pass\n")
    monkeypatch.syspath_prepend(site)
    try:
        import unlabeled

        assert used(unlabeled.f) == []
    finally:
        del sys.modules["unlabeled"]
