"""Results put together from parts, and sources they come from."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbpar.core.outcome import Failure, Part
from nbpar.core.results import Results, assemble
from nbpar.core.source import DirectSource, SequenceSource
from nbpar.core.spread import Spread, caller


def parts_of(values, cuts, failed):
    stops = sorted({*cuts, len(values)} - {0})
    for start, stop in pairwise([0, *stops]):
        inside = {i: Failure(i, i, ValueError(i)) for i in range(start, stop) if i in failed}
        yield Part(start, [None if i in failed else values[i] for i in range(start, stop)], inside)


@given(
    items=st.integers(0, 30),
    cuts=st.sets(st.integers(1, 29)),
    failed=st.sets(st.integers(0, 29)),
    order=st.randoms(use_true_random=False),
)
def test_parts_in_any_order_make_results_in_input_order(items, cuts, failed, order):
    parts = [part for part in parts_of(range(items), {c for c in cuts if c < items}, failed) if part.values]
    order.shuffle(parts)

    collected, skipped = assemble(parts, errors="collect"), assemble(parts, errors="skip")

    bad = sorted(i for i in failed if i < items)
    assert [r.index if isinstance(r, Failure) else r for r in collected] == list(range(items))
    assert skipped == [i for i in range(items) if i not in failed]
    assert [f.index for f in collected.failures] == [f.index for f in skipped.failures] == bad


def test_results_are_a_list():
    results = Results([1, 2], [])

    assert results == [1, 2]
    assert [*results, 3] == [1, 2, 3]
    assert repr(results) == "[1, 2]"


def test_a_failure_without_its_function_says_that_it_cannot_be_replayed():
    with pytest.raises(ValueError, match="item 3 cannot be replayed"):
        Failure(3, "x", ValueError("no")).replay()


@pytest.mark.parametrize(
    ("spread", "item", "result"),
    [
        (Spread.ONE, (1, 2), ((1, 2), 0)),
        (Spread.STAR, (1, 2), (1, 2)),
        (Spread.STAR, {"a": 5, "b": 6}, (5, 6)),
        (Spread.CALL, ((1,), {"b": 7}), (1, 7)),
    ],
)
def test_an_item_becomes_arguments_in_one_of_three_ways(spread, item, result):
    assert caller(lambda a, b=0: (a, b), spread)(item) == result


def test_sequences_are_taken_side_by_side_up_to_the_shortest():
    source = SequenceSource([1, 2, 3], "abcd")

    assert source.take(2, eager=False) == [(1, "a"), (2, "b")]
    assert source.remaining == 1
    assert source.take(9, eager=True) == [(3, "c")]
    assert source.ended
    assert not source.ready


def test_a_direct_source_reads_no_further_than_it_may():
    read = []
    source = DirectSource(read.append(x) or x for x in range(10))
    source.want(3)

    assert source.take(5, eager=True) == [0, 1, 2]
    assert read == [0, 1, 2]
    assert source.take(5, eager=True) == []
    assert not source.ended


def test_a_direct_source_gives_what_came_before_an_exception():
    def items():
        yield 1
        raise OSError("gone")

    source = DirectSource(items())
    source.want(5)

    assert source.take(5, eager=True) == [1]
    assert source.ended
    assert isinstance(source.error, OSError)
