"""A user's iterable read in a thread of its own."""

from __future__ import annotations

import contextvars
import itertools
import threading

import pytest

from nbpar.pool.inputs import FeederSource, length_of, source_of
from nbpar.testing import Gate


class Bell:
    """Is rung when there is something to take."""

    def __init__(self) -> None:
        self._rung = threading.Event()

    def ring(self) -> None:
        self._rung.set()

    def until(self, condition) -> None:
        while not condition():
            assert self._rung.wait(20), "nobody rang"
            self._rung.clear()


@pytest.fixture
def bell():
    return Bell()


def test_items_come_in_order_and_the_end_is_known(bell):
    source = FeederSource(iter(range(5)), wake=bell.ring)
    source.want(100)
    taken = []

    while not source.ended:
        bell.until(lambda: source.ready or source.ended)
        taken += source.take(2, eager=True)

    assert taken == [0, 1, 2, 3, 4]
    assert source.error is None
    assert source.remaining == 0


def test_nothing_is_read_before_it_is_wanted(bell):
    read = []
    source = FeederSource((read.append(x) or x for x in itertools.count()), wake=bell.ring)
    assert read == []
    assert not source.ready

    source.want(3)
    bell.until(lambda: len(read) == 3)
    source.want(5)
    bell.until(lambda: len(read) == 5)

    assert source.take(10, eager=True) == [0, 1, 2, 3, 4]
    source.close()


def test_a_source_that_is_never_wanted_starts_no_thread(bell):
    before = threading.active_count()

    FeederSource(itertools.count(), wake=bell.ring)

    assert threading.active_count() == before


def test_who_is_not_eager_gets_a_full_chunk_or_nothing(bell):
    source = FeederSource(itertools.count(), wake=bell.ring)
    source.want(3)
    bell.until(lambda: len(source._items) == 3)

    assert list(source.take(4, eager=False)) == []
    assert source.take(4, eager=True) == [0, 1, 2]
    source.close()


def test_a_slow_item_is_announced_as_soon_as_it_is_there(bell, tmp_path):
    gate = Gate(str(tmp_path))

    def items():
        yield "first"
        gate.wait()
        yield "second"

    source = FeederSource(items(), wake=bell.ring)
    source.want(10)
    bell.until(lambda: source.ready)
    assert source.take(5, eager=True) == ["first"]
    assert not source.ended

    gate.open()
    bell.until(lambda: source.ready)
    assert source.take(5, eager=True) == ["second"]
    bell.until(lambda: source.ended)


def test_an_exception_ends_the_input_after_what_came_before(bell):
    def items():
        yield 1
        raise OSError("gone")

    source = FeederSource(items(), wake=bell.ring)
    source.want(5)
    bell.until(lambda: source._over)

    assert not source.ended
    assert source.take(5, eager=False) == [1]
    assert source.ended
    assert isinstance(source.error, OSError)


def test_a_closed_source_ends_its_thread(bell):
    before = set(threading.enumerate())
    source = FeederSource(itertools.count(), wake=bell.ring)
    source.want(10)
    started = set(threading.enumerate()) - before

    source.close()

    for thread in started:
        thread.join(20)
        assert not thread.is_alive()


def test_the_iterable_sees_the_callers_context(bell):
    variable = contextvars.ContextVar("variable", default="nothing")
    variable.set("something")
    source = FeederSource((variable.get() for _ in range(1)), wake=bell.ring)
    source.want(1)

    bell.until(lambda: source.ready)

    assert source.take(1, eager=True) == ["something"]


def test_a_known_total_is_what_remains_until_the_input_proves_it_wrong(bell):
    source = FeederSource(iter(range(3)), wake=bell.ring, total=2)
    assert source.remaining == 2

    source.want(4)
    bell.until(lambda: source._over)
    source.take(3, eager=True)

    assert source.remaining == 0


@pytest.mark.parametrize(
    ("iterables", "length"),
    [(([1, 2],), 2), (([1, 2], "abc"), 2), ((iter([1]),), None), (([1], iter([1])), None), ((), None)],
)
def test_the_length_is_known_when_every_input_tells_it(iterables, length):
    assert length_of(iterables) == length


@pytest.mark.parametrize("threaded", [True, False])
@pytest.mark.parametrize(
    "iterables",
    [([1, 2, 3],), (iter([1, 2, 3]),), ("ab", [1, 2, 3]), (iter("ab"), [1, 2, 3]), ({1: 2},), (set(),)],
)
def test_any_input_becomes_a_source_of_its_items(iterables, threaded, bell):
    expected = list(iterables[0]) if len(iterables) == 1 and not hasattr(iterables[0], "__next__") else None
    source = source_of(iterables, wake=bell.ring, threaded=threaded)
    source.want(10)
    items = []

    while not source.ended:
        bell.until(lambda: source.ready or source.ended or not threaded)
        items += source.take(10, eager=True)

    assert expected is None or len(iterables) > 1 or items == expected
    assert len(items) in (0, 1, 2, 3)


def test_what_is_no_input_is_refused_by_its_place(bell):
    with pytest.raises(TypeError, match="nothing to map over"):
        source_of((), wake=bell.ring, threaded=True)
    with pytest.raises(TypeError, match="the input is not iterable: it is of type NoneType"):
        source_of((None,), wake=bell.ring, threaded=True)
    with pytest.raises(TypeError, match="input 2 is not iterable: it is of type int"):
        source_of(([1], 2), wake=bell.ring, threaded=True)
