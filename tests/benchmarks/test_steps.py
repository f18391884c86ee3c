"""Steps are calls of one file of a package into another, without reads of properties."""

from __future__ import annotations

import importlib
import sys
from collections import Counter

import pytest

from benchmarks.steps import StepCounter, further, steps_of_maps

MOST = 60
"""How many steps a further chunk may take, here and on its engine together."""

CALLER = """
from nbpar_steps_test.callee import Callee

def work(times):
    callee = Callee()
    for _ in range(times):
        local(callee)

def local(callee):
    callee.method(callee.value)
"""

CALLEE = """
class Callee:
    @property
    def value(self):
        return self.inner(1)

    def method(self, value):
        return self.inner(value)

    def inner(self, value):
        return value
"""


@pytest.fixture
def work(tmp_path, monkeypatch):
    package = tmp_path / "nbpar_steps_test"
    package.mkdir()
    for name, source in {"__init__": "", "caller": CALLER, "callee": CALLEE}.items():
        (package / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("nbpar_steps_test.caller").work
    for name in [name for name in sys.modules if name.startswith("nbpar_steps_test")]:
        del sys.modules[name]


def test_only_calls_into_another_file_count(work):
    counter = StepCounter("/nbpar_steps_test/")
    before = sys.getprofile()
    sys.setprofile(counter)
    try:
        work(3)
    finally:
        sys.setprofile(before)

    assert counter.take() == {("caller.py local", "callee.py method"): 3}
    assert counter.take() == {}


def test_a_step_of_a_further_chunk_occurs_for_at_least_every_other_one():
    often, seldom, once = ("a", "b"), ("a", "c"), ("a", "d")

    rates = further(Counter({often: 21, seldom: 9, once: 1}), Counter({often: 1, seldom: 1, once: 1}))

    assert rates == {often: 1.0}


@pytest.mark.engines
def test_a_further_chunk_takes_few_steps():
    here, there = steps_of_maps()

    assert 0 < here.further + there.further <= MOST
