"""Items as bytes, each by itself."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbpar.wire.pickling import OUT_OF_BAND, digest, pack, pack_one, unpack, unpack_one

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


def test_one_object_raises_its_own_error():
    with pytest.raises(TypeError, match="lock"):
        pack_one(threading.Lock())
    with pytest.raises(ValueError, match="no number"):
        unpack_one(pack_one(NotLoadable()))


def test_a_digest_names_the_content():
    assert digest(pack_one([1, 2])) == digest(pack_one([1, 2]))
    assert digest(pack_one(np.zeros(9999))) != digest(pack_one(np.ones(9999)))
