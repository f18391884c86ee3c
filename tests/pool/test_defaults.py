"""The default pools: their number of workers, in general and for one call."""

from __future__ import annotations

import inspect
from dataclasses import fields
from typing import get_type_hints

import pytest

import nbpar
from nbpar.pool import defaults
from nbpar.pool.calls import Calls
from nbpar.pool.options import MapOptions, Options
from nbpar.testing import Gate, until

MAPS = ["map", "starmap", "imap", "imap_unordered", "map_async"]


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """No default pools before, none after; this process may use two CPUs."""
    defaults.close_default_pools()
    monkeypatch.setattr(defaults, "default_workers", lambda: 2)
    monkeypatch.setattr("nbpar.cluster.deployments.default_workers", lambda: 2)
    yield
    defaults.close_default_pools()


def _size(backend="threads"):
    return defaults.default_pool(backend=backend).size


@pytest.mark.parametrize("backend", ["threads", pytest.param("engines", marks=pytest.mark.engines)])
def test_a_call_that_asks_for_more_workers_has_them_and_the_next_has_the_usual_ones(backend, tmp_path):
    gate = Gate(tmp_path)
    nbpar.map(abs, [1], backend=backend)
    assert _size(backend) == 2

    run = nbpar.map_async(lambda _: gate.wait(), range(4), workers=4, chunksize=1, backend=backend)
    until(lambda: gate.waiting == 4)
    assert _size(backend) == 4
    gate.open()

    assert len(run.get()) == 4
    until(lambda: _size(backend) == 2)
    assert nbpar.map(abs, [-1], backend=backend) == [1]


def test_a_blocking_call_has_given_its_workers_back_when_it_returns():
    nbpar.map(abs, [1], backend="threads")

    nbpar.map(abs, range(10), workers=5, backend="threads")

    assert _size() == 2


def test_calls_at_the_same_time_have_the_most_that_any_asks_for():
    gates = [Gate(), Gate()]
    nbpar.map(abs, [1], backend="threads")

    runs = [
        nbpar.map_async(lambda _, gate=gate: gate.wait(), [0], workers=workers, backend="threads")
        for gate, workers in zip(gates, (5, 3), strict=True)
    ]
    assert _size() == 5
    gates[0].open()
    runs[0].get()
    until(lambda: _size() == 3)
    gates[1].open()
    runs[1].get()

    until(lambda: _size() == 2)


def test_a_call_that_asks_for_fewer_is_run_by_no_more(tmp_path):
    gate = Gate(tmp_path)
    nbpar.map(abs, [1], workers=4, backend="threads")
    defaults.default_pool(4, "threads")

    run = nbpar.map_async(lambda _: gate.wait(), range(6), workers=2, chunksize=1, backend="threads")
    until(lambda: gate.waiting == 2)
    others = nbpar.map(abs, range(-50, 0), chunksize=1, backend="threads")
    assert gate.waiting == 2
    gate.open()

    assert others == list(range(50, 0, -1))
    assert len(run.get()) == 6
    assert _size() == 4


def test_a_first_call_starts_as_many_as_it_asks_for_and_the_next_as_many_as_there_are_cpus():
    nbpar.map(abs, [1], workers=1, backend="threads")
    assert _size() == 1

    nbpar.map(abs, [1], backend="threads")

    assert _size() == 2


def test_a_number_that_was_set_stays():
    defaults.default_pool(3, "threads")

    nbpar.map(abs, [1], workers=6, backend="threads")
    nbpar.map(abs, [1], backend="threads")

    assert _size() == 3


def test_a_stream_that_is_left_early_gives_its_workers_back():
    nbpar.map(abs, [1], backend="threads")

    for _ in nbpar.imap(abs, range(10**9), workers=4, backend="threads"):
        break

    until(lambda: _size() == 2)


def test_a_call_that_is_refused_gives_its_workers_back():
    nbpar.map(abs, [1], backend="threads")

    with pytest.raises(TypeError, match="not iterable"):
        nbpar.map(abs, 3, workers=4, backend="threads")

    assert _size() == 2


def test_a_pool_of_ones_own_says_how_it_gets_more():
    with nbpar.Pool(2, backend="threads") as pool:
        assert pool.map(abs, [-1], workers=1) == [1]
        with pytest.raises(ValueError, match=r"at most the 2 workers of this pool, was 3; `pool\.resize"):
            pool.map(abs, [1], workers=3)


def test_inside_an_item_the_number_does_not_matter():
    with nbpar.Pool(1, backend="threads") as pool:
        assert pool.map(lambda n: list(nbpar.map(abs, [-n], workers=4)), [3]) == [[3]]


@pytest.mark.parametrize("where", [nbpar, Calls], ids=["module", "pool"])
@pytest.mark.parametrize("name", MAPS)
def test_every_option_stands_in_the_signature(where, name):
    parameters = inspect.signature(getattr(where, name)).parameters

    options = {one.name: one.default for one in fields(Options) if one.init}
    shown = {name: parameters[name].default for name in options}
    assert shown == options
    assert not [one for one in parameters.values() if one.kind is one.VAR_KEYWORD]


def test_type_checkers_know_the_same_options():
    options = {one.name for one in fields(Options) if one.init}

    assert set(get_type_hints(MapOptions)) == options
    assert MapOptions.__annotations__.keys() == options


def test_every_option_is_described_where_users_look():
    described = Calls.map.__doc__

    assert all(f"- {one.name}: " in described for one in fields(Options) if one.init)


HINTS = {
    "n_jobs": "did you mean workers?",
    "max_workers": "did you mean workers?",
    "processes": "did you mean workers?",
    "chunk": "did you mean chunksize?",
    "chunk_size": "did you mean chunksize?",
    "base": r"to give it to the function, map `functools.partial\(power, base=...\)`",
    "xyzzy": "there are chunksize, timeout",
}


@pytest.mark.parametrize(("name", "hint"), HINTS.items(), ids=HINTS)
def test_a_name_that_people_bring_along_is_understood(name, hint):
    def power(n, base=2):
        return base**n

    with pytest.raises(TypeError, match=f"unknown option '{name}'; {hint}"):
        nbpar.map(power, [1], backend="threads", **{name: 3})
