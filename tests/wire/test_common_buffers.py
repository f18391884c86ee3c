"""Buffers that many items have in common."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from nbpar.wire import common_buffers
from nbpar.wire.common_buffers import CommonBuffers, Kept, mapped, with_kept
from nbpar.wire.frames import decode, encode
from nbpar.wire.messages import Call, Drop, Keep, Ping
from nbpar.wire.pickling import Copied, Packed, Unreceived, pack, unpack
from nbpar.wire.shared_memory import CAN_LODGE, WORTH

lodging = pytest.mark.skipif(not CAN_LODGE, reason="only Linux can do it")


@pytest.fixture
def common():
    return CommonBuffers()


@pytest.fixture
def array():
    return np.arange(WORTH // 8, dtype=float)


def buffers_of(*items):
    return pack(list(items))[0].buffers


def call(body):
    return Call(**{**dict.fromkeys(Call._fields), "id": 1, "run": 2, "broken": {}, "items": body})


def test_a_buffer_that_is_in_several_items_is_recognized(common, array):
    first, *rest = (common.among(buffers_of((number, array))) for number in range(3))

    assert first == [None]
    assert rest[0] == rest[1] != [None]
    assert bytes(rest[0][0].content) == array.tobytes()


def test_one_that_is_twice_in_one_message_is_recognized_at_once(common, array):
    [one, other] = common.among(buffers_of((1, array), (2, array)))

    assert one is other is not None


def test_what_each_of_several_runs_has_once_is_not_copied(common, array):
    assert [common.among(buffers_of(array), run) for run in range(3)] == [[None]] * 3


def test_an_item_that_is_sent_again_is_no_other_item(common, array):
    common.among(buffers_of(array))
    assert common.among(buffers_of(array), again=True) == [None]
    [copy] = common.among(buffers_of(array))

    assert copy is not None
    assert common.among(buffers_of(array), again=True) == [copy]


def test_small_ones_and_different_ones_are_sent(common, array):
    for _ in range(3):
        assert common.among(buffers_of(array[:-1].copy())) == [None]
        assert common.among(buffers_of(array := array.copy() + 1)) == [None]


@pytest.mark.parametrize("place", [0, 1000, -1])
def test_one_that_was_changed_is_another(common, array, place):
    common.among(buffers_of(array))
    [before] = common.among(buffers_of(array))
    array[place] = -1

    [changed] = common.among(buffers_of(array))
    common.among(buffers_of(array))
    [after] = common.among(buffers_of(array))

    assert before is not None
    assert changed is not before
    assert after is not before
    assert bytes(after.content) == array.tobytes()


def test_in_a_settled_run_it_is_compared_once(common, array):
    common.among(buffers_of(array), 7, settled=True)
    [before] = common.among(buffers_of(array), 7, settled=True)
    array[1000] = -1

    assert common.among(buffers_of(array), 7, settled=True) == [before]
    assert common.among(buffers_of(array), 8, settled=True) != [before]


def test_views_of_it_that_come_and_go_are_the_same_in_a_settled_run(common, array):
    square = array.reshape(256, -1).T
    common.among(buffers_of(square), 7, settled=True)
    [before] = common.among(buffers_of(square), 7, settled=True)
    array[1000] = -1

    assert common.among(buffers_of(square), 7, settled=True) == [before]


def test_another_array_in_its_place_is_compared_also_in_a_settled_run(common):
    memory = bytearray(WORTH)
    first = np.frombuffer(memory, "u1")
    common.among(buffers_of(first), 7, settled=True)
    [before] = common.among(buffers_of(first), 7, settled=True)
    del first
    memory[1000] = 1
    second = np.frombuffer(memory, "u1")

    assert common.among(buffers_of(second), 7, settled=True) != [before]


def test_memory_whose_owner_cannot_be_watched_is_compared(common):
    memory = memoryview(bytearray(WORTH))
    common.among([memory], 7, settled=True)
    [before] = common.among([memory], 7, settled=True)
    memory[1000] = 1

    assert before is not None
    assert common.among([memory], 7, settled=True) != [before]


def test_without_numpy_it_is_recognized_by_its_object(common, monkeypatch):
    monkeypatch.delitem(sys.modules, "numpy")
    memory = bytearray(WORTH)
    common.among([memory])

    assert common.among([memory]) != [None]
    assert common.among([bytearray(memory)]) == [None]


def test_without_memory_for_a_copy_it_is_sent(array):
    common = CommonBuffers(fits=lambda size: size < array.nbytes)

    assert [common.among(buffers_of(array)) for _ in range(3)] == [[None]] * 3


def test_where_memory_ends_while_it_is_copied_it_is_sent(common, array, monkeypatch):
    def full(*_):
        raise MemoryError

    monkeypatch.setattr(common_buffers, "CommonBuffer", full)

    assert [common.among(buffers_of(array)) for _ in range(3)] == [[None]] * 3


def test_only_so_many_are_remembered(common, array, monkeypatch):
    monkeypatch.setattr(common_buffers, "PLACES", 2)
    arrays = [array + number for number in range(3)]
    for one in arrays:
        common.among(buffers_of(one))

    assert common.among(buffers_of(arrays[0])) == [None]
    assert common.among(buffers_of(arrays[2])) != [None]


def test_a_copy_that_is_not_used_makes_room_for_others(common, array, monkeypatch):
    monkeypatch.setattr(common_buffers, "UNUSED", 3)
    arrays = [array + number for number in range(3)]
    common.among(buffers_of(arrays[0], arrays[0]))
    common.among(buffers_of(arrays[1], arrays[1]))
    assert len(common.current()) == 2
    for _ in range(3):
        common.among(buffers_of(arrays[1]))

    common.among(buffers_of(arrays[2], arrays[2]))
    assert len(common.current()) == 2

    common.clear()
    assert not common.current()


@lodging
def test_workers_of_this_host_map_it_for_each_item(common, array):
    [copy, _] = common.among(buffers_of(array, array))

    one, other = mapped([copy.lodged, copy.lodged])
    one[0] = 200

    assert other[0] == copy.content[0] == 0


@lodging
def test_its_memory_is_given_back_with_it(common, array):
    copy = common.among(buffers_of(array, array))[0]
    place = copy.lodged
    common.clear()
    assert mapped([place])  # a call still needs it

    del copy

    with pytest.raises(OSError, match="No such file"):
        mapped([place])


@pytest.mark.parametrize("without", ["system", "memory"])
def test_without_shared_memory_it_is_kept_here(common, array, monkeypatch, without):
    def full(_):
        raise OSError("no space left")

    if without == "system":
        monkeypatch.setattr(common_buffers, "CAN_LODGE", False)
    else:
        monkeypatch.setattr(common_buffers, "SharedBuffers", full)
    [copy, _] = common.among(buffers_of(array, array))

    assert copy.lodged is None
    assert bytes(copy.content) == array.tobytes()
    assert common.among(buffers_of(array)) == [copy]


def test_messages_say_what_the_worker_has(common, array):
    [copy, _] = common.among(buffers_of(array, array))
    body, _ = pack([(1, array), array[:3000].copy(), array])
    buffers = [Kept(copy.key), body.buffers[1], *([copy.lodged] if copy.lodged else [Kept(copy.key)])]
    keep = Keep(copy.key, Packed(b"", None, [copy.content]))

    frames = encode([keep, call(body._replace(buffers=buffers)), Drop((copy.key,))])
    kept, called, drop = decode([bytearray(frame) for frame in frames])
    called = with_kept(called, {kept.key: kept.body.buffers[0]})
    items, errors = unpack(called.items._replace(buffers=mapped(called.items.buffers)))

    assert sum(memoryview(frame).nbytes for frame in frames) < 1.1 * array.nbytes + 30_000
    assert drop == Drop((copy.key,))
    assert not errors
    assert (items[0][1] == array).all()
    assert (items[2] == array).all()
    assert len(items[1]) == 3000
    items[0][1][0] = 7
    assert items[2][0] == 0
    assert bytes(kept.body.buffers[0]) == array.tobytes()


def test_other_calls_are_as_they_were():
    plain, reference = call(pack([1, 2])[0]), call([1, 2])

    assert with_kept(plain, {}) is plain
    assert with_kept(reference, {}) is reference
    assert decode(encode([Ping(1)])) == [Ping(1)]


def test_one_that_did_not_fit_into_the_workers_memory_fails_its_items_only(array):
    body, _ = pack([array, 3])
    lost = Unreceived.of(8_000_000)

    ready = with_kept(call(body._replace(buffers=[Kept(5)])), {5: lost}).items
    items, errors = unpack(ready)

    assert ready.buffers == [lost]
    assert items[1] == 3
    assert isinstance(errors[0], MemoryError)


def test_each_item_has_a_copy_of_what_it_has_in_common(array):
    body, _ = pack([array, (array, 1)])
    memory = bytearray(body.buffers[0])

    one, (other, _) = unpack(body._replace(buffers=[Copied(memory), Copied(memory)]))[0]
    one[0] = 5

    assert other[0] == 0
    assert memory == array.tobytes()
