"""Collaboration: the search for the unpicklable object copes with anything, and ends."""

from __future__ import annotations

import itertools
import re
import signal
import threading
import time
import types

import pytest
from unpicklable import Net, reason
from user_code import leave, press_ctrl_c

from nbpar.wire.diagnosis.culprit import deepest
from nbpar.wire.diagnosis.explain import explain
from nbpar.wire.diagnosis.parts import parts


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
    assert time.monotonic() - start < 60


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

    text = explain(Endless(), MemoryError("no more"), what="it", seconds=2.0)

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


def test_ctrl_c_is_not_swallowed():
    class Stopped:
        def __reduce__(self):
            signal.raise_signal(signal.SIGINT)
            return str, ()

    with pytest.raises(KeyboardInterrupt):
        explain(Stopped(), ValueError("before"), what="it")


def test_the_longest_chain_of_nested_objects_is_that_of_any_branch():
    shared = [[]]
    nested = [[shared], [[[shared]]], shared]

    path = deepest(nested)

    assert [place.step.text for place in path] == ["[0]", "[0]", "[0]"]
    assert path[-1].value is shared[0]
    assert deepest([1, 2]) == ()


def test_what_fails_at_first_and_then_takes_for_ever_is_given_up():
    class Moody:
        tried = 0

        def __reduce__(self):
            Moody.tried += 1
            if Moody.tried == 1:
                raise ValueError("not today")
            return list, (), None, itertools.count()

    assert explain(Moody(), ValueError("not today"), what="it", seconds=0.2) == (
        "cannot send it: ValueError: not today"
    )


def test_ctrl_c_at_the_second_attempt_is_not_swallowed():
    class Stopped:
        tried = 0

        def __reduce__(self):
            Stopped.tried += 1
            return press_ctrl_c() if Stopped.tried == 2 else leave()

    with pytest.raises(KeyboardInterrupt):
        explain(Stopped(), ValueError("before"), what="it")


def test_ctrl_c_while_parts_are_looked_for_is_not_swallowed():
    broken = type("Broken", (), {"__reduce_ex__": leave})()
    slow = type("Slow", (), {"__reduce_ex__": press_ctrl_c})()

    assert list(parts(broken)) == []
    with pytest.raises(KeyboardInterrupt):
        list(parts(slow))


def test_an_object_that_lies_about_its_class_is_explained_by_its_error():
    class Liar:
        __class__ = property(leave)

    assert explain([Liar()], TypeError("cannot pickle 'Liar' object"), what="it") == (
        "cannot send it: somewhere in it is a Liar, which cannot be pickled"
    )
