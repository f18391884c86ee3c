"""Items as bytes: together, or each pickled separately."""

from __future__ import annotations

import gc
import re
import threading
from abc import ABC
from collections import deque
from datetime import date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from user_code import leave

from nbpar.wire.pickling import (
    OUT_OF_BAND,
    Unreceived,
    digest,
    pack,
    pack_apart,
    pack_one,
    unpack,
    unpack_one,
)

plain = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.tuples(inner, inner), st.dictionaries(st.text(), inner, max_size=3)
    ),
)


def without_addresses(value):
    """Name a parameter alike in all processes that collect the tests."""
    return re.sub(" at 0x[0-9a-f]+", "", str(value))


class Point:
    def __init__(self, x):
        self.x = x

    def __eq__(self, other):
        return self.x == other.x

    __hash__ = None


class Sized(Point):
    def __getstate__(self):
        return self.__dict__


class Reduced(Point):
    def __reduce__(self):
        return Point, (self.x,)


class Unseen(Point):
    def __getattr__(self, name):
        raise AttributeError(name)


class ABCPoint(Point, ABC):
    pass


class Zone(tzinfo):
    def utcoffset(self, _):
        return timedelta(0)

    dst = utcoffset


zone = Zone()
whole = np.arange(6.0)
noted = np.dtype("i8", metadata={"note": 1})


def deep(depth, inside):
    return inside if not depth else [deep(depth - 1, inside)]


def read_only():
    array = np.arange(3)
    array.flags.writeable = False
    return array


class NotLoadable:
    def __reduce__(self):
        return int, ("no number",)


@given(st.lists(plain))
def test_plain_items_travel_in_one_piece(items):
    packed, errors = pack(items)

    assert packed.layout is None
    assert not errors
    assert unpack(packed) == (items, {})


@pytest.mark.parametrize("items", [range(5, 9), "text", b"bytes", (1, "a"), [np.float64(1), np.int8(2)]])
def test_other_plain_sequences_do_too(items):
    packed, _ = pack(items)

    assert packed.layout is None
    assert list(unpack(packed)[0]) == list(items)


@pytest.mark.parametrize("make", [
    lambda: [1], lambda: Point(1), lambda: Point([1]), lambda: np.ones(3), lambda: (1, np.ones(3)),
    lambda: (1, [2]), lambda: ({1: [2]}, b"3"), lambda: [datetime.now(zone)],
])  # fmt: skip
def test_two_items_never_share_a_part(make):
    items = [make()] * 2 + [(1, part := make()), (2, part)]

    for pair in (items[:2], items[2:]):
        first, second = unpack(pack(pair)[0])[0]
        assert shared(first, second) == set()


def shared(*items):
    """Return the types of the changeable objects that are parts of several items."""
    seen, twice = set(), set()
    for level in map(parts_of, items):
        twice |= {type(part) for part in level if id(part) in seen}
        seen |= set(map(id, level))
    return twice - {int, float, str, bytes, type, Zone}


def parts_of(item):
    found, level = [], [item]
    while level:
        found += level
        level = [part for part in gc.get_referents(*level) if not isinstance(part, type)]
    return found


@pytest.mark.parametrize("make", [lambda: [1], lambda: np.ones(3), lambda: {1: 2}, lambda: Point(1)])
@pytest.mark.parametrize("of", [list, tuple, Point])
def test_what_one_item_has_twice_it_has_twice_there(make, of):
    part = make()
    items = [of([part, part]), of([make(), make()])]

    (first, second), errors = unpack(pack(items)[0])

    assert not errors
    one, other = first.x if of is Point else first
    assert one is other
    one, other = second.x if of is Point else second
    assert one is not other


@pytest.mark.parametrize("items", [
    [Point(1), Point((2, "a"))],
    [(1, np.ones(3)), (2, np.ones((2, 2)))],
    [{"a": Decimal(1)}, {"b": [date(2026, 12, 1), timedelta(1)]}],
    [datetime(2026, 12, 1), datetime(2026, 12, 1, tzinfo=timezone.utc)],
    [[np.float64(1), Path("a")], {frozenset([1])}],
], ids=without_addresses)  # fmt: skip
def test_items_that_share_nothing_travel_in_one_piece(items):
    packed, errors = pack(items)

    assert packed.layout is None
    assert not errors
    assert str(unpack(packed)[0]) == str(items) or unpack(packed)[0] == items


@pytest.mark.parametrize("items", [
    [1, Point(2)],
    [Point(Point(1)), Point(2)],
    [Sized(1), Sized(2)],
    [Reduced(1), Reduced(2)],
    [Unseen(1), Unseen(2)],
    [(1, np.array([[1]], object)), (2, np.ones(1))],
    [(1, np.ones(OUT_OF_BAND)), (2, np.ones(1))],
    [(1, datetime(2026, 12, 1, tzinfo=Zone())), (2, None)],
    [(1, deep(20, Decimal(1))), (2, None)],
    [(1, deep(20, 1)), (2, None)],
    [(1, lambda: 0), (2, None)],
    [(1, Point), (2, None)],
    [ABCPoint(1), ABCPoint(2)],
], ids=without_addresses)  # fmt: skip
def test_others_travel_one_by_one(items):
    packed, errors = pack(items)

    assert len(packed.layout) == 2
    assert not errors
    assert not unpack(packed)[1]


@pytest.mark.parametrize("items", [deque([Point(1), Point(2)]), np.array([None, 1])], ids=without_addresses)
def test_items_of_other_sequences_travel_one_by_one(items):
    packed, errors = pack(items)

    assert len(packed.layout) == 2
    assert not errors
    assert list(unpack(packed)[0]) == list(items)


def test_objects_that_only_pass_through_travel_one_by_one():
    assert pack([Point(1), Point(2)], instances=False)[0].layout is not None
    assert pack([(1, np.ones(3)), (2, np.ones(4))], instances=False)[0].layout is None


def test_items_of_a_class_that_cannot_be_pickled_fail_each():
    class Locked:
        lock = threading.Lock()

    packed, errors = pack([Locked(), Locked()])

    assert list(errors) == [0, 1]
    assert unpack(packed)[0] == [None, None]


def test_a_class_that_cannot_even_be_looked_at_harms_no_other():
    class ShyType(type):
        def __getattribute__(cls, name):
            leave()

    class Shy(metaclass=ShyType):
        pass

    packed, errors = pack([1, Shy(), (2, Shy())])

    assert list(errors) == [1, 2]
    assert unpack(packed)[0] == [1, None, None]


@pytest.mark.parametrize("array", [
    np.arange(6.0), np.ones((2, 3), "i2"), np.zeros(0), np.zeros((3, 0, 2), "c8"), np.array([True]),
], ids=repr)  # fmt: skip
def test_small_arrays_of_one_shape_travel_as_one(array):
    items = [array + number for number in range(100)] if array.dtype != bool else [array] * 100
    packed, errors = pack(items)
    arrived = unpack(packed)[0]

    assert not errors
    assert packed.nbytes < 100 * array.nbytes + 500
    for item, other in zip(items, arrived, strict=True):
        np.testing.assert_array_equal(item, other, strict=True)
        assert other.flags.owndata
        assert other.flags.writeable


@pytest.mark.parametrize("array", [
    np.array(1.0), np.arange(10)[::2], np.ones((3, 2)).T, np.array(["a"]), np.array([(1, 2)], "i4,f8"),
    np.arange(3, dtype=">i4"), np.array([None]), np.ones(OUT_OF_BAND), np.arange(3, dtype=noted), read_only(),
    np.ma.ones(3),
], ids=repr)  # fmt: skip
def test_other_arrays_travel_as_they_are(array):
    packed, errors = pack([array.copy() if array.flags.writeable else array for _ in range(5)])
    arrived = unpack(packed._replace(buffers=[bytearray(buffer) for buffer in packed.buffers]))[0]

    assert not errors
    for item in arrived:
        assert (item.dtype, item.shape, type(item)) == (array.dtype, array.shape, type(array))
        assert item.flags.f_contiguous == array.copy().flags.f_contiguous
        np.testing.assert_array_equal(item, array)


@pytest.mark.parametrize("of", [list, Point])
@pytest.mark.parametrize(
    "array", [read_only(), np.ones((3, 2)).T, np.arange(10)[::2], np.zeros((2, 0))], ids=repr
)
def test_small_arrays_in_items_arrive_as_they_were(array, of):
    items = [of([array]), of([array.copy("K")])]

    for item, item_is_writable in zip(unpack(pack(items)[0])[0], [array.flags.writeable, True], strict=True):
        [arrived] = item.x if of is Point else item
        np.testing.assert_array_equal(arrived, array, strict=True)
        assert arrived.flags.writeable == item_is_writable
        assert arrived.flags.f_contiguous == array.copy("K").flags.f_contiguous


@pytest.mark.parametrize(
    "items", [[whole, whole[:3], whole[2:5]], [whole[:2], whole[1:3], whole[2:4], whole[3:5]]]
)
def test_items_that_are_views_of_one_another_are_apart(items):
    first, *others = unpack(pack(items)[0])[0]

    assert not any(np.shares_memory(first, other) for other in others)


def test_arrays_of_several_kinds_are_not_stacked():
    items = [np.ones(3), np.ones(3), np.ones(3, "f4"), np.ones(2)]

    for item, other in zip(items, unpack(pack(items)[0])[0], strict=True):
        np.testing.assert_array_equal(item, other, strict=True)


def test_objects_of_several_kinds_travel_one_by_one():
    packed, errors = pack([Point(1), 2, Point([3])])

    assert len(packed.layout) == 3
    assert not errors
    assert unpack(packed)[0] == [Point(1), 2, Point([3])]


def test_what_cannot_be_pickled_harms_no_other():
    packed, errors = pack([Point(1), threading.Lock(), Point(2)])

    assert list(errors) == [1]
    assert unpack(packed)[0] == [Point(1), None, Point(2)]


def test_what_cannot_be_unpickled_harms_no_other():
    items, errors = unpack(pack([Point(1), NotLoadable(), Point(2)])[0])

    assert list(errors) == [1]
    assert isinstance(errors[1], ValueError)
    assert items == [Point(1), None, Point(2)]


def test_an_item_within_itself_travels():
    item = []
    item.append(item)

    [arrived] = unpack(pack([item])[0])[0]

    assert arrived[0] is arrived


def test_large_arrays_travel_out_of_band_and_arrive_writable():
    large, small = np.arange(OUT_OF_BAND, dtype=np.uint8), np.arange(3)

    packed, _ = pack([large, small])
    arrived = unpack(packed._replace(buffers=[bytearray(buffer) for buffer in packed.buffers]))[0]

    assert len(packed.buffers) == 1
    assert len(packed.head) < OUT_OF_BAND
    assert all(array.flags.writeable for array in arrived)
    np.testing.assert_array_equal(arrived[0], large)


def test_rows_of_an_array_travel_as_one_buffer():
    packed, _ = pack(np.ones((100, 100)))

    assert len(packed.buffers) == 1


def test_arrays_that_are_not_contiguous_travel():
    array = np.arange(100_000)[::2]

    np.testing.assert_array_equal(unpack(pack([array])[0])[0][0], array)


def test_items_are_pickled_apart_also_plain_ones_and_all_or_none_of_them():
    packed = pack_apart([1, "a", [2]])

    assert len(packed.layout) == 3
    assert unpack(packed) == ([1, "a", [2]], {})
    assert pack_apart([1, threading.Lock(), 2]) is None


def test_a_size_is_that_of_all_bytes_also_of_those_that_did_not_fit():
    packed = pack_one(np.zeros(OUT_OF_BAND))
    gone = packed._replace(head=Unreceived.of(len(packed.head)))

    assert packed.nbytes == len(packed.head) + 8 * OUT_OF_BAND == gone.nbytes
    assert pack_one(1).nbytes == len(pack_one(1).head)
    assert (packed.received, gone.received) == (True, False)
    assert not packed._replace(buffers=[Unreceived.of(8)]).received


def test_one_object_raises_its_own_error():
    with pytest.raises(TypeError, match="lock"):
        pack_one(threading.Lock())
    with pytest.raises(ValueError, match="no number"):
        unpack_one(pack_one(NotLoadable()))


def test_a_digest_names_the_content():
    assert digest(pack_one([1, 2])) == digest(pack_one([1, 2]))
    assert digest(pack_one(np.zeros(9999))) != digest(pack_one(np.ones(9999)))


def test_objects_of_one_pickle_for_which_there_was_no_memory_fail_together():
    packed, _ = pack([1, 2, 3])

    items, errors = unpack(packed._replace(head=Unreceived.of(1 << 30)))

    assert items == [None, None, None]
    assert [str(error) for error in errors.values()] == ["1,074 MB arrived"] * 3


def test_an_object_whose_buffer_did_not_fit_fails_alone():
    packed, _ = pack([np.zeros(OUT_OF_BAND), "small", np.ones(OUT_OF_BAND)])
    first, second = packed.buffers

    items, errors = unpack(packed._replace(buffers=[Unreceived.of(1 << 30), second]))

    assert items[:2] == [None, "small"]
    assert items[2].sum() == OUT_OF_BAND
    assert isinstance(errors.pop(0), MemoryError)
    assert not errors
    assert packed._replace(buffers=[Unreceived.of(first.nbytes), second]).nbytes == packed.nbytes


def test_objects_that_are_too_large_once_they_are_unpickled_fail_together(monkeypatch):
    def refuse(*_, **__):
        raise MemoryError("no")

    packed, _ = pack([1, 2])
    monkeypatch.setattr("nbpar.wire.pickling.pickle.loads", refuse)

    items, errors = unpack(packed)

    assert items == [None, None]
    assert [str(error) for error in errors.values()] == ["no", "no"]


def test_items_for_which_there_is_no_memory_as_bytes_fail_together(monkeypatch):
    def refuse(*_, **__):
        raise MemoryError("no")

    monkeypatch.setattr("nbpar.wire.pickling._pack_each", refuse)

    packed, errors = pack([Point(1), 2])

    assert unpack(packed) == ([None, None], {})
    assert [str(error) for error in errors.values()] == ["no", "no"]
