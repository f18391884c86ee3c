"""Large bytes in items travel out of band."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbpar.wire.large_bytes import LARGE, are_likely, with_stand_ins
from nbpar.wire.pickling import pack, unpack

CONTENT = bytes(range(256)) * (LARGE // 256)

ITEMS = {
    "bytes": CONTENT,
    "bytearray": bytearray(CONTENT),
    "tuple": (1, CONTENT, "a"),
    "list": [CONTENT, bytearray(CONTENT)],
    "dict": {"name": CONTENT, 3: None},
    "arguments": ((1, CONTENT), {"data": bytearray(CONTENT)}),
}


@pytest.mark.parametrize("item", ITEMS.values(), ids=list(ITEMS))
@pytest.mark.parametrize("number", [1, 3])
def test_they_arrive_as_they_were_and_are_not_in_the_pickle(item, number):
    packed, errors = pack([item] * number)

    items, lost = unpack(packed._replace(buffers=[bytearray(buffer) for buffer in packed.buffers]))

    assert not errors
    assert not lost
    assert items == [item] * number
    assert _kinds(items[0]) == _kinds(item)
    assert len(packed.head) < 1000 * number


def _kinds(value):
    if isinstance(value, (list, tuple)):
        return [type(value), *map(_kinds, value)]
    return [type(value), *map(_kinds, value.values())] if isinstance(value, dict) else type(value)


def test_those_that_arrive_in_memory_of_their_own_are_not_copied():
    packed, _ = pack([bytearray(CONTENT)])
    memory = bytearray(packed.buffers[0])

    assert unpack(packed._replace(buffers=[memory]))[0][0] is memory
    assert unpack(packed._replace(buffers=[memoryview(memory)]))[0] == [memory]


def test_the_sender_does_not_copy_them():
    assert pack([CONTENT])[0].buffers[0].obj is CONTENT


def test_what_is_one_object_in_an_item_is_one_there():
    array = bytearray(CONTENT)

    [one, other] = unpack(pack([[array, array]])[0])[0][0]

    assert one is other


def test_each_item_has_its_own():
    array = bytearray(CONTENT)

    one, other = unpack(pack([array, array])[0]._replace(buffers=[bytearray(array), bytearray(array)]))[0]
    one[0] = 9

    assert other[0] == 0


class Holder:
    def __init__(self, thing):
        self.thing = thing


def _itself():
    item = [CONTENT]
    item.append(item)
    return item


def _shared():
    part = [1]
    return (CONTENT, part, part)


@pytest.mark.parametrize(
    "item",
    [
        (CONTENT, Holder(3)),
        {Holder(1): CONTENT},
        [[[[[CONTENT]]]]],
        _itself(),
        _shared(),
        (1, b"short"),
        [CONTENT, bytearray(b"short")],
        3,
        [0] * 100,
    ],
    ids=["object", "key", "deep", "itself", "shared", "short", "short array", "number", "numbers"],
)
def test_other_items_stay_as_they_are(item):
    assert with_stand_ins(item) is item


def test_an_item_that_is_in_itself_arrives_so():
    [item] = unpack(pack([_itself()])[0])[0]

    assert item[0] == CONTENT
    assert item[1] is item


def test_parts_that_are_one_stay_one():
    [(content, one, other)] = unpack(pack([_shared()])[0])[0]

    assert content == CONTENT
    assert one is other


def test_only_the_ends_of_a_list_are_looked_at():
    assert are_likely([1, CONTENT])
    assert are_likely([(1, CONTENT), 2])
    assert not are_likely([1, CONTENT, 2])
    assert not are_likely([])
    assert not are_likely([[CONTENT] * 100])


@given(
    st.recursive(
        st.one_of(st.none(), st.integers(), st.text(max_size=5), st.just(CONTENT), st.binary(max_size=5)),
        lambda parts: st.one_of(
            st.lists(parts, max_size=4),
            st.tuples(parts, parts),
            st.dictionaries(st.text(max_size=3), parts, max_size=3),
        ),
        max_leaves=6,
    )
)
def test_any_plain_item_arrives_as_it_was(item):
    packed, errors = pack([item, item])

    items, lost = unpack(packed._replace(buffers=[bytearray(buffer) for buffer in packed.buffers]))

    assert not errors
    assert not lost
    assert items == [item, item]
    assert _kinds(items[0]) == _kinds(item)
