"""Changes of captured objects that would be lost cause a warning; nothing else does."""

from __future__ import annotations

import collections
import functools
import types
import warnings

import numpy as np
import pandas as pd
import pytest

import nbpar
from nbpar import LostChangeWarning
from nbpar.pool import lost_changes
from nbpar.pool.lost_changes import warn_of_lost_changes


class Tally:
    """As a notebook would define it."""

    __module__ = "__main__"

    def __init__(self):
        self.results, self.done, self.model = [], 0, None

    def keep(self, n):
        self.results.append(n)

    def count(self, n):
        self.done += n

    def prepare(self, n):
        self.model = n
        return n

    def read(self, n):
        return len(self.results) + n


def notebook(**more):
    """The names of a notebook."""
    return {
        "__name__": "__main__", "out": [], "total": 0, "d": {}, "s": set(), "text": "abc", "n0": 3,
        "counts": collections.Counter(), "groups": collections.defaultdict(list),
        "queue": collections.deque(),
        "df": pd.DataFrame({"a": [1]}), "arr": np.zeros(3), "state": types.SimpleNamespace(total=0, all=[]),
        "memory": {}, "results_cache": {}, "np": np, "math": types.ModuleType("math"), "tally": Tally(),
        "nested": {"a": [1]}, "Tally": Tally, **more,
    }  # fmt: skip


def said(function, **more):
    """The warning about a function; "" if there is none."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_of_lost_changes(function, **more)
    assert len(caught) <= 1
    return str(caught[0].message) if caught else ""


@pytest.fixture(autouse=True)
def nothing_said_yet(monkeypatch):
    monkeypatch.setattr(lost_changes, "_said", set())


def function_of(body, names, **more):
    exec(f"def f(n):\n    {body}", names)
    return names["f"]


@pytest.mark.parametrize(
    ("body", "way"),
    [
        ("out.append(n)", "`out.append(...)`"),
        ("out[n] = n", "`out[...] = ...`"),
        ("d[n] = n * n", "`d[...] = ...`"),
        ("d.update({n: 1})", "`d.update(...)`"),
        ("d.setdefault(n, []).append(n)", "`d.setdefault(...)`"),
        ("s.add(n)", "`s.add(...)`"),
        ("counts[n] += 1", "`counts[...] += ...`"),
        ("counts.update([n])", "`counts.update(...)`"),
        ("d[n] = d.get(n, 0) + 1; out.append(n)", "`out.append(...)`"),
        ("groups[n].append(n)", "`groups[...].append(...)`"),
        ("nested['a'].append(n)", "`nested[...].append(...)`"),
        ("queue.appendleft(n)", "`queue.appendleft(...)`"),
        ("df.loc[n, 'a'] = n", "`df.loc[...] = ...`"),
        ("df['b'] = n", "`df[...] = ...`"),
        ("df.insert(0, 'c', n)", "`df.insert(...)`"),
        ("arr[n] = n", "`arr[...] = ...`"),
        ("state.total += n", "`state.total += ...`"),
        ("state.all.append(n)", "`state.all.append(...)`"),
        ("tally.results.append(n)", "`tally.results.append(...)`"),
        ("global total; total += n", "`total += ...`"),
        ("[out.append(k) for k in range(n)]", "`out.append(...)`"),
    ],
)
def test_a_change_of_a_captured_object_is_said_with_its_variable(body, way):
    function = function_of(body, notebook())

    sentence = said(function)

    assert way in sentence
    assert "here stay" in sentence
    assert sentence.endswith("let each item return its value, and collect the results")


@pytest.mark.parametrize(
    "body",
    [
        "return out",
        "return d[n], d.get(n), n in s, len(out), sorted(out), text.upper(), counts.most_common(1)",
        "out = []; out.append(n); d = {}; d[n] = 1; return out, d",
        "local = list(out); local.append(n); return local",
        "n.append(1); return n",
        "copy = d.copy(); copy[n] = 1; return copy",
        "return df.assign(b=n), df.drop(columns='a'), df.loc[0]",
        "np.random.seed(n); math.value = n; math.items = []",
        "arr[:] = n; return arr.sum()",
        "state.model = n; return n",
        "global loaded; loaded = n",
        "if n not in memory: memory[n] = n * n\n    return memory[n]",
        "try: return memory[n]\n    except KeyError: pass\n    results_cache[n] = n; return n",
        "Tally.total = n",
        "return [out for out in range(n)]",
        "text.append(n)",
        "unknown.append(n)",
    ],
)
def test_nothing_is_said_of_reading_of_locals_and_of_caches(body):
    assert said(function_of(body, notebook())) == ""


def test_what_an_enclosing_function_has_is_captured_too():
    def outer():
        acc = []
        return lambda n: acc.append(n + 1)

    assert said(outer()).startswith("`acc.append(...)` changes a copy, and `acc` here stays as it is: ")


def test_several_changes_are_one_warning():
    function = function_of("out.append(n); d[n] = 1; s.add(n); counts[n] += 1", notebook())

    assert said(function).startswith(
        "`out.append(...)`, `d[...] = ...`, `s.add(...)` and 1 more change copies, "
        "and `out`, `d` and `s` here stay as they are: "
    )


def test_functions_that_the_function_uses_count_too():
    names = notebook()
    function_of("out.append(n)", names)
    exec("def g(n): return f(n)\ndef g2(n): return g(n)", names)

    assert said(names["g2"]).startswith("`out.append(...)` changes")
    assert said(functools.partial(names["g"])) == said(functools.lru_cache(names["g"])) == ""


@pytest.mark.parametrize("wrap", [functools.partial, functools.lru_cache, functools.wraps(len)])
def test_partials_and_decorated_functions_are_looked_into(wrap):
    function = function_of("out.append(n)", notebook())
    if wrap is functools.partial or wrap is functools.lru_cache:
        function = wrap(function)

    assert said(function).startswith("`out.append(...)` changes")


def test_what_a_method_changes_in_its_object_is_said():
    tally = Tally()

    assert said(tally.keep).startswith("`self.results.append(...)` changes a copy, and `self` here")
    assert said(tally.count).startswith("`self.done += ...` changes")
    assert said(tally.prepare) == said(tally.read) == ""


def test_items_that_are_changed_and_not_returned_are_said():
    names = notebook()
    records = [{"a": 1}]

    assert said(function_of("n['b'] = n['a'] * 2", names), items=records).startswith(
        "`n[...] = ...` changes copies of the items, and the items here stay as they are: "
    )
    assert said(function_of("n['b'] = 2; return n", names), items=records) == ""
    assert said(function_of("n['b'] = 2", names), items=iter(records)) == ""
    assert said(function_of("n['b'] = 2", names), items=["text"]) == ""


def test_workers_in_this_process_share_objects_so_nothing_is_lost():
    names = notebook()

    assert said(function_of("out.append(n); d[n] = 1; n['a'] = 1", names), items=[{}], shared=True) == ""


@pytest.mark.parametrize("shared", [True, False])
def test_a_name_that_begins_anew_with_each_item_does_not_add_up(shared):
    exec("def body(n, *, total=None):\n    total += n", names := notebook())

    sentence = said(names["body"], starting={"total": 0}, shared=shared)

    assert sentence.startswith("`total += ...` changes a copy, and `total` here stays as it is: ")


def test_a_function_of_an_installed_module_is_none_of_our_business():
    assert said(pd.read_csv) == said(len) == said(3) == said(np.sum) == ""


def test_an_object_that_cannot_be_looked_at_costs_nothing():
    class Odd:
        def __getattribute__(self, name):
            raise RuntimeError("no")

    assert said(function_of("odd.append(n); odd[n] = 1", notebook(odd=Odd()))) == ""
    assert said(Odd()) == ""


def test_it_is_said_once():
    names = notebook()

    assert said(function_of("out.append(n)", names)) != ""
    assert said(function_of("out.append(n)", names)) == ""


@pytest.mark.engines
def test_a_map_on_engines_says_so_and_one_on_threads_does_not():
    out = []

    def keep(n):
        out.append(n)

    with (
        nbpar.Pool(1, progress="none") as pool,
        pytest.warns(LostChangeWarning, match=r"`out.append\(...\)`"),
    ):
        pool.map(keep, [1, 2])
    with nbpar.Pool(1, backend="threads", progress="none") as pool:
        pool.map(keep, [1, 2])

    assert out == [1, 2]
