"""Items as bytes, each pickled separately."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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


class Point:
    def __init__(self, x):
        self.x = x

    def __eq__(self, other):
        return self.x == other.x

    __hash__ = None


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


def test_two_items_never_share_a_part():
    shared = [1]

    first, second = unpack(pack([shared, shared])[0])[0]

    assert first == second == [1]
    assert first is not second


def test_objects_travel_one_by_one():
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

    packed, errors = pack([Point(1), Point(2)])

    assert unpack(packed) == ([None, None], {})
    assert [str(error) for error in errors.values()] == ["no", "no"]
