"""Chunk sizes and windows, from the cost of chunks."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbpar.core.chunking import DEEPEST, LARGEST_BYTES, MOST_JOINED, SHARE, SHORTEST, TARGET, Chunker

costs = st.floats(1e-8, 10.0)


def learned(chunker: Chunker, seconds_per_item: float, answers: int = 40, **more: float) -> Chunker:
    for _ in range(answers):
        chunker.learn(chunker.current, chunker.current * seconds_per_item, **more)
    return chunker


def test_the_first_chunk_has_one_item_and_nothing_waits_behind_it():
    chunker = Chunker()

    assert chunker.size(10**6, 4) == 1
    assert chunker.window == 1
    assert chunker.seconds_per_item is None


@given(cost=costs)
def test_chunks_grow_until_they_last_as_long_as_they_should(cost):
    chunker = learned(Chunker(), cost)

    seconds = chunker.current * cost
    assert seconds <= TARGET * 1.01 or chunker.current == 1
    assert chunker.current == 1 << 20 or seconds > TARGET / 2 or chunker.current == 1


@given(answers=st.lists(st.tuples(st.integers(0, 100), st.floats(0, 5), st.integers(0, 10**9)), max_size=40))
def test_chunks_grow_step_by_step_and_are_never_empty(answers):
    chunker = Chunker()

    for items, seconds, moved in answers:
        before = chunker.current
        chunker.learn(items, seconds, moved=moved)
        assert 1 <= chunker.current <= 8 * before
        assert 1 <= chunker.window <= DEEPEST


@given(remaining=st.integers(1, 10**6), workers=st.integers(1, 64), cost=costs)
def test_near_a_known_end_every_worker_gets_a_share_of_what_is_worth_sharing(remaining, workers, cost):
    chunker = learned(Chunker(), cost)

    size = chunker.size(remaining, workers)

    share = -(-remaining // (SHARE * workers))
    assert size >= 1
    assert size <= max(1, share) or size * cost <= TARGET / 20


@given(workers=st.integers(1, 16), items=st.integers(0, 5000))
def test_the_rest_is_used_up_by_chunks_that_never_grow_again(workers, items):
    chunker = learned(Chunker(), 1e-6)
    sizes = []

    while items:
        sizes.append(chunker.size(items, workers))
        items -= min(sizes[-1], items)

    assert items == 0
    assert sizes == sorted(sizes, reverse=True)


@given(cost=costs, remaining=st.none() | st.integers(1, 100), fixed=st.integers(1, 1000))
def test_a_fixed_size_stays(cost, remaining, fixed):
    chunker = learned(Chunker(fixed), cost, moved=10**9)

    assert chunker.size(remaining, 3) == chunker.current == fixed


@given(cost=costs, fixed=st.integers(1, 1000), remaining=st.none() | st.integers(1, 10**6))
def test_short_chunks_of_a_fixed_size_are_joined(cost, fixed, remaining):
    chunker = learned(Chunker(fixed, joins=True), cost)

    number, rest = divmod(chunker.size(remaining, 3), fixed)

    assert (rest, chunker.fixed) == (0, fixed)
    assert 1 <= number <= MOST_JOINED
    assert number == 1 or number * fixed * cost <= SHORTEST
    if remaining is None:
        assert number == MOST_JOINED or (number + 2) * fixed * cost > SHORTEST
    else:
        assert (number - 1) * fixed * SHARE * 3 < remaining


def test_chunks_are_joined_step_by_step_once_their_cost_is_known():
    chunker, joined = Chunker(2, joins=True), []

    for _ in range(4):
        joined.append(chunker.size(None, 2))
        chunker.learn(joined[-1], joined[-1] * 1e-6)

    assert joined == [2, 16, 128, 128]


def test_no_more_chunks_are_joined_than_their_bytes_and_the_largest_allow():
    small, limited = Chunker(1, joins=True), Chunker(1, joins=True, largest=5)
    for _ in range(3):
        small.learn(1, 1e-6, moved=LARGEST_BYTES // 3)
        limited.learn(1, 1e-6)

    assert (small.size(None, 2), limited.size(None, 2)) == (3, 5)


@pytest.mark.parametrize(
    ("expected", "items", "size"),
    [
        (1e-6, 4, 2),
        (1e-6, 5, 2),
        (1e-6, 1, 1),
        (1e-6, 99, 8),
        (5e-4, 1000, 4),
        (0.0, 1000, 8),
        (0.01, 1000, 1),
    ],
)
def test_first_chunks_of_a_function_that_was_quick_are_larger(expected, items, size):
    chunker = Chunker(expected=expected)

    assert [chunker.size(left, 2) for left in (items, max(items - size, 1))] == [size, size]
    assert chunker.window == 1


def test_a_function_that_has_become_slow_is_believed():
    chunker = Chunker(expected=1e-6)

    chunker.learn(chunker.size(100, 2), 8.0)

    assert chunker.size(92, 2) == 1


def test_what_is_expected_changes_neither_a_fixed_size_nor_streams_of_unknown_length():
    assert Chunker(3, expected=1e-6).size(100, 2) == 3
    assert Chunker(expected=1e-6).size(None, 2) == 1


def test_no_chunk_grows_beyond_the_largest():
    assert learned(Chunker(largest=4096), 1e-8).current == 4096


@given(nbytes=st.integers(1, 10**8))
def test_chunks_of_big_items_are_bounded_in_bytes(nbytes):
    chunker = Chunker()

    for _ in range(30):
        chunker.learn(chunker.current, 1e-9, moved=chunker.current * nbytes)

    assert chunker.current * nbytes <= LARGEST_BYTES or chunker.current == 1


def test_a_window_covers_the_round_trip_of_short_chunks():
    chunker = learned(Chunker(1), 1e-5, round_trip=1e-3)

    assert chunker.window * 1e-5 >= 2e-3 or chunker.window == DEEPEST


def test_long_chunks_are_sent_one_at_a_time():
    assert learned(Chunker(1), 1.0, round_trip=1e-3).window == 1


def test_one_slow_item_is_forgotten_again():
    chunker = Chunker()
    chunker.learn(1, 2.0)  # imports something, say

    learned(chunker, 1e-4, answers=60)

    assert chunker.current * 1e-4 == pytest.approx(TARGET, rel=0.1)


@settings(max_examples=20)
@given(st.integers(0, 3))
def test_an_answer_without_items_teaches_nothing_of_their_cost(n):
    chunker = learned(Chunker(), 1e-3, answers=n)
    before = (chunker.current, chunker.seconds_per_item)

    chunker.learn(0, 1.0)

    assert (chunker.current, chunker.seconds_per_item) == before


@pytest.mark.parametrize(("nbytes", "chunks"), [(0, DEEPEST), (1 << 20, 8), (100 << 20, 2)])
def test_few_large_chunks_are_in_flight_at_a_time(nbytes, chunks):
    chunker = Chunker(1)
    chunker.learn(1, 1e-6, moved=nbytes, round_trip=1.0)

    assert chunker.window == chunks
