"""Items that are pickled as columns arrive as they would one by one."""

from __future__ import annotations

import datetime as dt
import pickle
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbpar.wire.columns import columns_of
from nbpar.wire.pickling import OUT_OF_BAND, pack, unpack


@dataclass
class Point:
    x: int
    name: str = "a"


@dataclass(frozen=True)
class Measured:
    at: dt.date
    values: np.ndarray


class Plain:
    def __init__(self, n):
        self.n = n
        if n > 100:
            self.more = n


class Stored:
    """Has an attribute of the name of a property, which setting it would call."""

    def __init__(self, n):
        self.__dict__["size"] = n

    @property
    def size(self):
        return self.__dict__["size"]


class Slotted:
    __slots__ = ("n",)

    def __init__(self, n):
        self.n = n

    def __eq__(self, other):
        return self.n == other.n

    __hash__ = None


class PartlySlotted(Slotted):
    pass


class Stateful:
    def __init__(self, n):
        self.n = n

    def __getstate__(self):
        return {"n": self.n + 1}


def array(n):
    return np.arange(3.0) + n


def columns(items, *, instances=True):
    return columns_of(items, smaller_than=OUT_OF_BAND, instances=instances)


def same(one, other):
    """Whether two objects are of one type and have the same in them."""
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and bool((one == other).all())
    if isinstance(one, dict):
        return list(one) == list(other) and all(map(same, one.values(), other.values()))
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return same(vars(one), vars(other)) if hasattr(one, "__dict__") else one == other


ALIKE = {
    "tuples with arrays": [(n, array(n)) for n in range(9)],
    "tuples of arrays": [(array(n), array(n) > 1) for n in range(9)],
    "dicts with arrays": [{"n": n, 3: array(n), None: Decimal(n)} for n in range(9)],
    "objects": [Plain(n) for n in range(9)],
    "dataclasses": [Point(n, str(n)) for n in range(9)],
    "values of several types": [Point(n, n if n % 2 else None) for n in range(9)],
    "frozen ones with arrays": [Measured(dt.date(2026, 1, n + 1), array(n)) for n in range(9)],
    "large arrays together": [(n, np.zeros(1000) + n) for n in range(9)],
}


@pytest.mark.parametrize("items", ALIKE.values(), ids=ALIKE)
def test_items_that_are_alike_arrive_as_they_were(items):
    packed, errors = pack(items)

    assert columns(items) is not None
    assert errors == {}
    assert packed.layout is None
    assert same(unpack(packed)[0], items)


def test_classes_of_a_notebook_are_sent_along():
    names = {"__name__": "__main__"}
    exec("class Own:\n    def __init__(self, n): self.n = n\n    def twice(self): return 2 * self.n", names)
    items = [names["Own"](n) for n in range(9)]

    arrived, errors = unpack(pack(items)[0])

    assert errors == {}
    assert [one.twice() for one in arrived] == list(range(0, 18, 2))
    assert set(map(type, arrived)) == {names["Own"]}


def test_arrays_of_two_items_share_no_memory_and_can_be_written_to():
    arrived, _ = unpack(pack([(n, array(n)) for n in range(9)])[0])

    arrived[0][1][:] = 7

    assert arrived[1][1].tolist() == [1.0, 2.0, 3.0]


shared, state, twice = array(0), {"n": 1}, (1, array(1))


def sharing():
    one, other = Plain(1), Plain(2)
    other.__dict__ = one.__dict__
    return [one, other]


UNLIKE = {
    "one array in two items": [(n, shared) for n in range(9)],
    "an array twice in one item": [(each := array(n), each) for n in range(9)],
    "an item twice": [twice] * 9,
    "a dict twice": [{"a": shared}] * 9,
    "one state of two objects": sharing(),
    "tuples of different lengths": [(1, array(1)), (1, array(1), 2)] * 4,
    "arrays of different shapes": [(n, np.zeros(n)) for n in range(9)],
    "large arrays": [(n, np.zeros(OUT_OF_BAND)) for n in range(4)],
    "arrays of objects": [(n, np.array([n, None])) for n in range(9)],
    "what can be changed": [(array(n), [n]) for n in range(9)],
    "objects with lists": [Point([n]) for n in range(9)],
    "different keys": [{"a": array(n), n: 1} for n in range(9)],
    "another order of keys": [{"a": array(1), "b": 1}, {"b": 1, "a": array(1)}] * 4,
    "keys with code of their own": [{Measured: array(n)} for n in range(9)],
    "different attributes": [Plain(n) for n in range(95, 105)],
    "different classes": [Point(1), Plain(2)],
    "a property of the same name": [Stored(n) for n in range(9)],
    "slots": [Slotted(n) for n in range(9)],
    "slots of a base class": [PartlySlotted(n) for n in range(9)],
    "a say in how they are pickled": [Stateful(n) for n in range(9)],
    "no attributes": [object.__new__(Plain) for _ in range(9)],
    "tuples of numbers, which are as good as they are": [(n, n) for n in range(9)],
    "dicts of numbers": [{"n": n} for n in range(9)],
    "empty tuples": [()] * 9,
    "empty dicts": [{} for _ in range(9)],
}


@pytest.mark.parametrize("items", UNLIKE.values(), ids=UNLIKE)
def test_others_are_pickled_otherwise(items):
    assert columns(items) is None

    arrived, errors = unpack(pack(items)[0])
    assert errors == {}
    assert same(arrived, pickle.loads(pickle.dumps(items)))


def test_objects_of_the_users_classes_are_left_alone_where_they_are_not_wanted():
    assert columns([Point(n) for n in range(9)], instances=False) is None
    assert columns([(n, array(n)) for n in range(9)], instances=False) is not None


VALUES = st.one_of(
    st.integers(), st.text(), st.none(), st.booleans(), st.dates(), st.decimals(allow_nan=False), st.binary(),
    st.lists(st.integers(), max_size=2), st.tuples(st.integers(), st.text()),
    st.integers(1, 3).map(np.arange),
)  # fmt: skip


@given(st.lists(st.tuples(VALUES, VALUES), min_size=2, max_size=8))
def test_whatever_is_in_items_arrives(pairs):
    for items in (pairs, [dict(zip("ab", pair, strict=True)) for pair in pairs], [Point(*p) for p in pairs]):
        arrived, errors = unpack(pack(items)[0])

        assert errors == {}
        assert same(arrived, items)


class Deletes:
    """A descriptor that gets and deletes."""

    def __get__(self, instance, owner=None):
        return instance.__dict__["x"]

    def __delete__(self, instance):
        raise AttributeError("x")


class WithDescriptor:
    x = Deletes()

    def __init__(self, x):
        self.__dict__["x"] = x


def arrived(items):
    body, errors = pack(items)
    assert not errors
    values, broken = unpack(body)
    assert not broken
    return values


@pytest.mark.parametrize("keys", [(1, True), (0.0, -0.0), (1, 1.0), ("a", np.str_("a"))])
def test_keys_that_are_equal_and_not_the_same_arrive_as_they_were(keys):
    items = [{keys[n % 2]: np.zeros(3)} for n in range(8)]

    assert [repr(list(item)) for item in arrived(items)] == [repr(list(item)) for item in items]


def test_what_only_a_descriptor_with_delete_hides_arrives():
    assert [vars(item) for item in arrived([WithDescriptor(n) for n in range(8)])] == [
        {"x": n} for n in range(8)
    ]


@pytest.mark.parametrize("kind", [np.memmap, np.poly1d])
def test_objects_of_numpy_that_can_be_changed_are_not_shared_by_items(kind, tmp_path):
    one = np.memmap(tmp_path / "x", mode="w+", shape=4) if kind is np.memmap else np.poly1d([1, 2])

    for items in ([one] * 6, [(one, n) for n in range(6)]):
        values = [value[0] if type(value) is tuple else value for value in arrived(items)]
        assert len(set(map(id, values))) == 6
