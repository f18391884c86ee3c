"""A shared object as functions and items carry it from one process to another."""

from __future__ import annotations

import pickle
import threading

import numpy as np
import pytest

from nbpar.wire import shared
from nbpar.wire.pickling import pack_one, unpack_one
from nbpar.wire.shared import KEPT, Shared, arrive, asking_for_shared, forget_arrived, parts_of
from nbpar.wire.shared_memory import CAN_LODGE, WORTH, Mapped

LODGED = [False, pytest.param(True, marks=pytest.mark.skipif(not CAN_LODGE, reason="only Linux can do it"))]


@pytest.fixture(autouse=True)
def _nothing_arrived():
    forget_arrived()
    yield
    forget_arrived()


@pytest.fixture
def elsewhere(monkeypatch):
    """Be another process, which has shared nothing."""
    return lambda: monkeypatch.setattr(shared, "_own", {})


@pytest.mark.parametrize("lodge", LODGED)
def test_its_value_arrives_once_however_often_it_is_sent(lodge, elsewhere):
    handle = Shared({"array": np.arange(1000), "name": "a"}, lodge=lodge)
    packed = [pack_one([handle]) for _ in range(2)]
    elsewhere()

    [first], [second] = map(unpack_one, packed)

    assert first is second
    assert first is not handle
    assert (first.value["name"], first.value["array"].sum()) == ("a", 499_500)
    assert not first.value["array"].flags.writeable


def test_at_home_it_is_the_object_itself():
    handle = Shared([1])

    assert pickle.loads(pickle.dumps(handle, 5)) is handle
    assert repr(handle) == "<nbpar.Shared list>"


def test_it_is_serialized_once_and_stays_as_it_was_then():
    value = [1]
    handle = Shared(value)
    handle.pack()
    value.append(2)
    handle.pack()

    name, contents = handle.__reduce__()[1]

    assert pickle.loads(contents[0]) == [1]
    assert arrive(name, contents) is handle


@pytest.mark.parametrize("lodge", LODGED)
def test_what_has_arrived_can_be_sent_on(lodge, elsewhere):
    handle = Shared(np.arange(10), lodge=lodge)
    packed = pack_one(handle)
    elsewhere()
    arrived = unpack_one(packed)

    again = pack_one(arrived)
    forget_arrived()

    assert unpack_one(again).value.tolist() == list(range(10))


def test_errors_of_pickling_are_those_of_the_value():
    with pytest.raises(TypeError, match="lock"):
        Shared(threading.Lock()).pack()


def test_a_worker_keeps_those_that_it_used_last(elsewhere):
    handles = [Shared(number) for number in range(KEPT + 2)]
    packed = [pack_one(handle) for handle in handles]
    elsewhere()

    first = unpack_one(packed[0])
    second = unpack_one(packed[1])
    for one in packed[2:-1]:
        unpack_one(one)
        assert unpack_one(packed[0]) is first  # the latest again, so it stays
    unpack_one(packed[-1])

    assert unpack_one(packed[0]) is first
    assert unpack_one(packed[1]) is not second
    assert unpack_one(packed[1]).value == 1


@pytest.mark.skipif(not CAN_LODGE, reason="only Linux can do it")
def test_its_memory_is_freed_with_the_handle_and_whoever_comes_late_is_told(elsewhere):
    handle = Shared(b"x" * 1000, lodge=True)
    packed = pack_one(handle)
    assert isinstance(handle._contents, Mapped)
    del handle
    elsewhere()

    with pytest.raises(ReferenceError, match=r"keep what pool.share\(...\) returned"):
        unpack_one(packed)


@pytest.mark.skipif(not CAN_LODGE, reason="only Linux can do it")
def test_without_shared_memory_it_is_sent(monkeypatch, elsewhere):
    def full(_):
        raise OSError("no space left")

    monkeypatch.setattr(shared, "SharedBuffers", full)
    packed = pack_one(Shared(b"x" * 1000, lodge=True))
    elsewhere()

    assert unpack_one(packed).value == b"x" * 1000


def test_a_large_one_can_come_by_name_and_be_asked_for(elsewhere):
    array = np.ones(WORTH, dtype=np.uint8)
    handle = Shared(array, ask=True)
    packed = pack_one(handle)
    array[0] = 5
    parts = parts_of(handle._name.encode())
    elsewhere()

    asked = []
    with asking_for_shared(lambda name: (asked.append(name), parts)[1]):
        arrived = [unpack_one(packed) for _ in range(2)]

    assert packed.nbytes < 1000
    assert asked == [handle._name.encode()]
    assert arrived[0].value.sum() == WORTH
    assert unpack_one(pack_one(arrived[0])) is arrived[0]


def test_a_small_one_comes_whole(elsewhere):
    packed = pack_one(Shared([1], ask=True))
    elsewhere()

    assert unpack_one(packed).value == [1]


@pytest.mark.parametrize("asks", [False, True])
def test_one_that_is_asked_for_may_be_gone(elsewhere, asks):
    handle = Shared(b"x" * WORTH, ask=True)
    packed = pack_one(handle)
    elsewhere()

    gone = pytest.raises(ReferenceError, match=r"keep what pool.share\(...\) returned")
    with asking_for_shared(parts_of if asks else None), gone:
        unpack_one(packed)
