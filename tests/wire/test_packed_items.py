"""Items that pass through a process as bytes."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from user_code import leave

from nbpar.wire.packed_items import PackedItems, SentItems, UnreadableItem, chain_items
from nbpar.wire.pickling import OUT_OF_BAND, pack, pack_apart, unpack


class Opaque:
    """Cannot be made in this process."""

    def __reduce__(self):
        return leave, ()


class Unnamed:
    """Cannot be made, and the exception has no text."""

    def __reduce__(self):
        return _fail, ()


def _fail():
    raise ValueError


def array(number):
    return np.full(OUT_OF_BAND, number, "u1")


def packed(items):
    return PackedItems(pack_apart(items))


items = st.lists(st.one_of(st.integers(), st.text(), st.integers(0, 200).map(array)), max_size=8)


def plain(values):
    return [int(value[0]) if isinstance(value, np.ndarray) else value for value in values]


@given(items, st.integers(-9, 9), st.integers(-9, 9))
def test_slices_hold_the_items_that_those_of_a_list_do(values, start, stop):
    everything = packed(values)

    part = everything[start:stop]

    assert isinstance(part, PackedItems)
    assert len(everything) == len(values)
    assert plain(part) == plain(values[start:stop])
    assert plain(unpack(part.packed)[0]) == plain(values[start:stop])


def test_all_of_it_is_itself():
    everything = packed([1, 2])

    assert everything[:] is everything
    assert everything[0:9] is everything


@pytest.mark.parametrize(("item", "reason"), [(Opaque(), "I leave"), (Unnamed(), "ValueError")])
def test_an_item_that_cannot_be_made_here_has_a_stand_in_and_travels_on(item, reason):
    everything = packed([1, item, array(3)])

    stand_in = everything[1]

    assert isinstance(stand_in, UnreadableItem)
    assert repr(stand_in) == f"<an item that cannot be unpickled here: {reason}>"
    assert plain(everything[::1][2:]) == [3]
    assert everything[0] == 1


@given(st.lists(st.tuples(items, st.booleans()), min_size=1, max_size=4))
def test_pieces_are_joined_in_their_order_and_stay_packed_if_one_is(pieces):
    joined = chain_items([packed(values) if apart else values for values, apart in pieces])

    assert plain(joined) == plain(value for values, _ in pieces for value in values)
    assert isinstance(joined, PackedItems) is any(apart for _, apart in pieces)


def test_plain_pieces_beside_a_packed_one_are_packed_too():
    joined = chain_items([[1, "a"], packed([2]), [array(3)]])

    assert isinstance(joined, PackedItems)
    assert plain(joined) == [1, "a", 2, 3]
    assert chain_items([[1], [2]]) == [1, 2]


def test_a_single_piece_is_not_touched():
    piece = [1, 2]

    assert chain_items([piece]) is piece


def test_what_cannot_be_pickled_is_joined_as_objects():
    lock = threading.Lock()

    joined = chain_items([packed([1, 2]), [lock], packed([3])])

    assert joined == [1, 2, lock, 3]


def test_items_that_were_sent_keep_their_bytes_in_every_part():
    items = [array(number) for number in range(4)]
    sent = SentItems(items, pack_apart(items))

    part = sent[1:][:2]

    assert (len(sent), len(part)) == (4, 2)
    assert part[0] is items[1]
    assert sent[:] is sent
    values, errors = unpack(part.packed)
    assert not errors
    np.testing.assert_array_equal(values, items[1:3])


def test_parts_of_items_that_are_one_pickle_are_pickled_again():
    items = [1, 2, 3]
    sent = SentItems(items, pack(items)[0])

    assert sent[0:3] is sent
    assert sent[1:] == [2, 3]


def test_what_stands_for_an_unreadable_item_can_be_sent():
    [item] = unpack(pack([UnreadableItem("sealed")])[0])[0]

    assert item.reason == "sealed"
