"""Collaboration: the message locates the object that cannot be pickled."""

from __future__ import annotations

import collections
import dataclasses
import functools
import io
import re
import threading
import types
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from unpicklable import Model, Net, reason

from nbpar.wire.diagnosis.explain import explain
from nbpar.wire.diagnosis.parts import parts


def test_the_variable_of_a_function_is_named(log):
    def tag(x):
        log.write(x)

    assert explain(tag, TypeError("cannot"), what="the function `tag` to the workers") == (
        "cannot send the function `tag` to the workers: its variable `log` is a TextIOWrapper,"
        " which cannot be pickled; open the file inside the function"
    )


def test_a_global_of_the_notebook_is_named(log):
    notebook = {"log": log, "innocent": [1, 2]}
    exec("def tag(x): return [innocent, lambda: log.write(x)]", notebook)

    assert reason(notebook["tag"]).startswith("its variable `log` is a TextIOWrapper")


def test_a_variable_of_a_function_that_the_function_uses_is_named_with_that_function(log):
    def write(x):
        log.write(x)

    def tag(x):
        write(x)

    assert reason(tag).startswith(
        "the variable `log` of the function `write`, which it uses, is a TextIOWrapper"
    )


def test_the_attribute_path_of_an_item_is_named():
    assert reason(Net()) == (
        "`.model.lock` is a _thread.lock, which cannot be pickled; it works within one process only:"
        f" make it inside the function, or leave it out in `{Model.__module__}.Model.__getstate__`"
    )


def test_the_attribute_path_of_a_variable_is_named():
    net = Net()

    assert reason(lambda: net).startswith("its variable `net.model.lock` is a _thread.lock")


def test_the_object_of_a_bound_method_is_named():
    assert reason(Model().run).startswith("its variable `self.lock` is a _thread.lock")


def test_a_method_of_a_builtin_object_leads_to_that_object(log):
    assert reason(log.write).startswith("`.__self__` is a TextIOWrapper")


def test_a_default_is_named_by_its_parameter(log):
    def positional(x, file=log):
        pass

    def by_keyword(*, file=log):
        pass

    assert reason(positional).startswith("the default of its parameter `file` is a TextIOWrapper")
    assert reason(by_keyword).startswith("the default of its parameter `file` is a TextIOWrapper")


def test_an_attribute_of_a_function_is_named(log):
    def tag():
        pass

    tag.log = log

    assert reason(tag).startswith("`.log` is a TextIOWrapper")


def test_the_part_of_a_partial_is_named(log):
    assert reason(functools.partial(print, file=log)).startswith("`.keywords['file']` is a TextIOWrapper")
    assert reason(functools.partial(print, 1, log)).startswith("`.args[1]` is a TextIOWrapper")


def test_a_variable_within_a_partial_is_named_with_its_function(log):
    def tag(x):
        log.write(x)

    expected = "the variable `log` of the function `tag`, which it uses, is a TextIOWrapper"
    assert reason(functools.partial(tag, 1)).startswith(expected)


@pytest.mark.parametrize("frozen", [False, True])
def test_the_slot_of_a_dataclass_is_named(frozen):
    @dataclasses.dataclass(slots=True, frozen=frozen)
    class Job:
        number: int
        lock: object

    assert reason(Job(1, threading.Lock())).startswith("`.lock` is a _thread.lock")


def test_a_plain_slot_is_named():
    class Job:
        __slots__ = ("lock",)

    job = Job()
    job.lock = threading.Lock()

    assert reason(job).startswith("`.lock` is a _thread.lock")


def test_what_a_class_defined_here_holds_is_named():
    class Shared:
        lock = threading.Lock()

    assert reason(Shared).startswith("`.lock` is a _thread.lock")
    assert reason(Shared()).startswith("`.__class__.lock` is a _thread.lock")


def test_an_attribute_that_a_reduction_hands_over_is_named():
    class Job:
        def __init__(self, number, lock):
            self.number = number
            self.lock = lock

        def __reduce__(self):
            return Job, (self.number, self.lock)

    assert reason(Job(1, threading.Lock())).startswith("`.lock` is a _thread.lock")


def test_a_part_that_is_made_anew_for_each_pickling_is_named():
    class Job:
        def __getstate__(self):
            return {"numbers": (n for n in range(3))}

    assert reason([Job()]).startswith("`[0].numbers` is a generator")


def test_a_field_of_a_named_tuple_is_named(log):
    class Pair(NamedTuple):
        name: str
        file: object

    assert reason(Pair("a", log)).startswith("`.file` is a TextIOWrapper")


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        (lambda it: [0, it], "`[1]` is"),
        (lambda it: (it,), "`[0]` is"),
        (lambda it: {"a": {7: it}}, "`['a'][7]` is"),
        (lambda it: {it}, "an element of it is"),
        (lambda it: [{it}], "an element of `[0]` is"),
        (lambda it: {it: 1}, "a key of it is"),
        (lambda it: {"a": {it: 1}}, "a key of `['a']` is"),
        (lambda it: {(1, 2): it}, "`[...]` is"),
        (lambda it: collections.deque([0, it]), "`[1]` is"),
        (lambda it: collections.OrderedDict(a=it), "`['a']` is"),
        (lambda it: collections.defaultdict(list, {"a": it}), "`['a']` is"),
        (lambda it: types.SimpleNamespace(a=it), "`.a` is"),
        (lambda it: ValueError("text", it), "`.args[1]` is"),
        (lambda it: np.array([0, it]), "`[1]` is"),
        (lambda it: np.array([[0, it]]), "`.flat[1]` is"),
    ],
)
def test_the_place_in_a_container_is_named(container, expected):
    assert reason(container(threading.Lock())).startswith(
        f"{expected} a _thread.lock, which cannot be pickled"
    )


steps = st.lists(st.sampled_from(["list", "tuple", "dict", "object", "cycle"]), max_size=12)


@given(steps)
def test_the_path_leads_to_the_culprit(kinds):
    lock = culprit = threading.Lock()
    for kind in kinds:
        match kind:
            case "list":
                culprit = [0, "innocent", culprit]
            case "tuple":
                culprit = (None, culprit)
            case "dict":
                culprit = {"first": 1, "it's": culprit}
            case "object":
                culprit = types.SimpleNamespace(name="x", held=culprit)
            case "cycle":
                culprit = [culprit]
                culprit.append(culprit)

    path = re.match("`(.*)` is a _thread.lock|it is a _thread.lock", reason(culprit))[1] or ""

    assert eval(f"culprit{path}") is lock


def test_a_very_long_path_still_ends_at_the_culprit():
    lock = nested = threading.Lock()
    for _ in range(40):
        nested = {"key": nested}

    path = re.match("`(.*)` is a _thread.lock", reason(nested))[1]

    assert eval(f"nested{path}") is lock


def test_a_state_of_one_object_is_named_by_its_method(log):
    class Wrapper:
        def __getstate__(self):
            return log

    assert reason(Wrapper()).startswith("`.__getstate__()` is a TextIOWrapper, which")


def test_arrays_of_numbers_are_not_searched(log):
    numbers = np.zeros(3)

    assert reason([numbers, log]).startswith("`[1]` is a")
    assert list(parts(numbers)) == []


def test_what_no_path_leads_to_is_somewhere_in_it():
    class Reader(io.RawIOBase):
        def __reduce__(self):
            return list, ([threading.Lock()],)

    with Reader() as reader:
        text = reason([reader])

    assert text.startswith("somewhere in it is a _thread.lock, which cannot be pickled; it works within one")
