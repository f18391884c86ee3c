"""Items and failures in index order: none lost, none twice, whole batches."""

import threading

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nbpar.core.outcome import Failure, Part
from nbpar.pipeline.backlog import Backlog
from nbpar.wire.packed_items import PackedItems, UnreadableItem, chain_items
from nbpar.wire.pickling import pack, unpack


def part(first, count, failed=()):
    return Part(
        first,
        [None if n in failed else n for n in range(first, first + count)],
        {n: Failure(n, n, ValueError(n)) for n in failed},
    )


def drained(backlog, limit=100, *, over=True):
    out = []
    while True:
        known = backlog.known()
        items = () if known is not None else backlog.take(limit, eager=True, over=over)
        if known is None and not len(items):
            return out
        out.append(known.first if known is not None else list(items))


@given(
    counts=st.lists(st.integers(1, 9), max_size=8),
    failed=st.sets(st.integers(0, 70)),
    batch=st.none() | st.integers(1, 6),
)
def test_every_item_comes_once_in_order_and_in_aligned_batches(counts, failed, batch):
    backlog, first = Backlog(), 0
    backlog.batch = batch
    for count in counts:
        here = range(first, first + count)
        backlog.put(part(first, count, [n for n in here if n in failed]))
        first += count

    out = drained(backlog)

    assert backlog.size == 0
    flat = [n for piece in out for n in (piece if isinstance(piece, list) else [piece])]
    assert flat == list(range(first))
    for piece in out:
        if isinstance(piece, list) and batch:
            assert piece[0] // batch == piece[-1] // batch


def test_a_batch_waits_until_it_is_whole():
    backlog = Backlog()
    backlog.batch = 4
    backlog.put(part(0, 3))

    assert not len(backlog.take(9, eager=True, over=False))
    backlog.put(part(3, 2))
    assert list(backlog.take(9, eager=False, over=False)) == [0, 1, 2, 3]
    assert not len(backlog.take(9, eager=True, over=False))
    assert list(backlog.take(9, eager=True, over=True)) == [4]


def test_a_batch_waits_until_there_is_room_for_it():
    backlog = Backlog()
    backlog.batch = 4
    backlog.put(part(0, 4))

    assert not len(backlog.take(3, eager=True, over=False))
    assert len(backlog.take(4, eager=True, over=False)) == 4


def test_packed_items_are_cut_and_joined_as_bytes():
    values = [{"n": n, "a": np.arange(n * 3000)} for n in range(6)]
    first, second = (PackedItems(pack(half)[0]) for half in (values[:4], values[4:]))

    joined = chain_items([first[1:], second[:1]])

    assert isinstance(joined, PackedItems)
    made, errors = unpack(joined.packed)
    assert [value["n"] for value in made] == [1, 2, 3, 4]
    assert [len(value["a"]) for value in made] == [3000, 6000, 9000, 12000]
    assert not errors
    assert joined[3]["n"] == 4
    assert joined[:] is joined


def test_looking_at_an_item_that_cannot_be_unpickled_raises_nothing():
    items = PackedItems(pack([{1: object}, _Sealed()])[0])

    assert items[0] == {1: object}
    assert isinstance(items[1], UnreadableItem)
    assert "sealed" in repr(items[1])


def test_plain_pieces_are_packed_to_be_joined_with_packed_ones():
    packed = PackedItems(pack([{1: object}, {2: object}])[0])

    joined = chain_items([packed, [3], [4, "five"]])

    assert isinstance(joined, PackedItems)
    assert list(joined) == [{1: object}, {2: object}, 3, 4, "five"]


def test_pieces_with_what_cannot_be_pickled_are_joined_as_values():
    packed, lock = PackedItems(pack([{1: object}])[0]), threading.Lock()

    assert chain_items([packed, [lock]]) == [{1: object}, lock]


class _Sealed:
    def __reduce__(self):
        return _refuse, ()


def _refuse():
    raise RuntimeError("sealed")
