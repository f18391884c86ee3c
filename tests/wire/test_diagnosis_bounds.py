"""Collaboration: the search for what cannot be pickled copes with anything, and ends."""

from __future__ import annotations

import itertools
import re
import threading
import time
import types

import pytest
from unpicklable import Net, reason

from nbpar.wire.diagnosis import explain


class Tree:
    def __init__(self, left):
        self.left = left


def nest(wrap):
    value = None
    for _ in range(50_000):
        value = wrap(value)
    return value


def test_lists_nested_too_deeply_are_named():
    text = reason(nest(lambda it: [it]))

    assert re.match(r"it is nested too deeply \(\d+ levels or more of list in list\), and each level", text)
    assert text.endswith("flatten it, or build it inside the function")


def test_the_variable_that_is_nested_too_deeply_is_named():
    tree = nest(Tree)

    text = reason(lambda: ("innocent", tree))

    assert text.startswith("its variable `tree` is nested too deeply (")
    assert f"of {__name__}.Tree in {__name__}.Tree)" in text


def test_the_attribute_that_is_nested_too_deeply_is_named():
    item = {"name": "x", "model": Tree([nest(lambda it: [it])])}

    assert reason(item).startswith("`['model'].left` is nested too deeply (")


def test_levels_of_two_kinds_are_both_named():
    assert "of list in dict)" in reason({"tree": nest(lambda it: {"children": [it]})})


def test_a_method_that_calls_itself_without_end_is_named():
    class Job:
        def __reduce__(self):
            return self.__reduce__()

    assert "Job, whose `__reduce__` raised RecursionError" in reason([Job()]) or "PicklingError" in reason(
        [Job()]
    )


# ---- within bounds


def test_cycles_do_no_harm():
    item = Net()
    item.model.owner = item
    item.all = [item, item.model]
    item.all.append(item.all)

    assert reason(item).startswith("`.model.lock` is a _thread.lock")


def test_an_innocent_object_is_asked_for_its_parts_at_most_twice_more():
    asked = []

    class Innocent:
        def __reduce__(self):
            asked.append(1)
            return list, ()

    reason([Innocent(), Innocent(), threading.Lock()])

    assert len(asked) <= 2 * 3


def test_long_innocent_lists_before_the_culprit_take_no_long_time(log):
    numbers = list(range(2_000_000))
    start = time.monotonic()

    text = reason([numbers, tuple(numbers), {"log": log}])

    assert text.startswith("`[2]['log']` is a TextIOWrapper")
    assert time.monotonic() - start < 10


def test_a_culprit_behind_many_innocent_objects_is_found():
    objects = [types.SimpleNamespace(number=number) for number in range(20_000)]

    assert reason([*objects, Net()]).startswith("`[20000].model.lock` is a _thread.lock")


@pytest.mark.parametrize("items", [itertools.count(), itertools.cycle([[]])])
def test_pickling_without_an_end_is_given_up(items):
    class Endless:
        def __reduce__(self):
            return list, (), None, items

    text = explain(Endless(), MemoryError("no more"), what="it", seconds=0.2)

    assert text == "cannot send it: MemoryError: no more"


def test_when_time_is_up_something_of_a_known_kind_is_blamed():
    class Endless:
        def __init__(self):
            self.lock = threading.Lock()

        def __reduce__(self):
            return list, (), {"lock": self.lock}, itertools.count()

    text = explain(Endless(), MemoryError("no more"), what="it", seconds=0.2)

    assert text.startswith("cannot send it: `.lock` is a _thread.lock, which cannot be pickled")


def test_objects_that_break_whatever_is_asked_of_them_do_no_harm():
    class Hostile:
        def __getattribute__(self, name):
            raise ValueError("go away")

        def __reduce_ex__(self, protocol):
            raise ValueError("go away")

        def __repr__(self):
            raise ValueError("go away")

        def __eq__(self, other):
            raise ValueError("go away")

        __hash__ = object.__hash__

    assert "ValueError: go away" in reason({"a": [Hostile()], Hostile(): 1})


def test_a_keyboard_interrupt_is_not_swallowed():
    class Stopped:
        def __reduce__(self):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        explain(Stopped(), ValueError("before"), what="it")
