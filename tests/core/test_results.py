"""Results assembled from parts, and the sources of items."""

from __future__ import annotations

import copy
import pickle
import weakref
from itertools import pairwise
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from user_code import leave, press_ctrl_c

from nbpar.core.call_style import CallStyle, Lent, caller
from nbpar.core.outcome import Failure, Part
from nbpar.core.results import Results, assemble, values_of
from nbpar.core.source import DirectSource, EndedSource, HandedOverSource, SequenceSource
from nbpar.errors import InputExitedError, SkippedError, StoppedError


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


def test_results_of_a_run_make_its_report_and_others_have_none():
    results = Results([1])
    assert results.report is None

    results.make_report = lambda: "a report"
    assert results.report == "a report"
    assert copy.copy(results) == pickle.loads(pickle.dumps(Results([1]))) == [1]


def test_a_failure_without_its_function_says_that_it_cannot_be_replayed():
    with pytest.raises(ValueError, match="item 3 cannot be replayed"):
        Failure(3, "x", ValueError("no")).replay()


@pytest.mark.parametrize(
    ("spread", "item", "result"),
    [
        (CallStyle.ONE, (1, 2), ((1, 2), 0)),
        (CallStyle.STAR, (1, 2), (1, 2)),
        (CallStyle.STAR, {"a": 5, "b": 6}, (5, 6)),
        (CallStyle.CALL, ((1,), {"b": 7}), (1, 7)),
        (CallStyle.BATCH, [1, 2], ([1, 2], 0)),
    ],
)
def test_an_item_becomes_arguments_in_one_of_four_ways(spread, item, result):
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


def test_a_function_that_was_lent_is_kept_no_longer_than_that():
    class Captured:
        def __call__(self):
            """Does not matter."""

    function = Captured()
    left = weakref.ref(function)
    lent = Lent(function)
    assert lent.fn is function
    del function

    lent.take_back()
    lent.take_back()

    assert (lent.fn, left()) == (None, None)


def test_a_failure_is_replayed_with_the_arguments_that_the_item_stands_for():
    failure = Failure(
        3, {"a": 7, "b": 2}, ValueError("no"), function=divmod_of, spread=CallStyle.STAR, attempts=2
    )

    assert failure.replay() == (3, 1)
    assert failure.where == ""
    assert repr(failure) == "<Failure of item 3 ({'a': 7, 'b': 2}): ValueError: no>"


def divmod_of(a, b):
    return divmod(a, b)


class Value:
    """Can be seen to be gone."""


@pytest.mark.parametrize("kind", [list, tuple])
@pytest.mark.parametrize("told", [False, True])
def test_values_of_a_part_are_dropped_one_by_one_as_they_are_taken(kind, told):
    values = [Value() for _ in range(3)]
    left = [weakref.ref(value) for value in values]
    part, asked = Part(5, kind(values)), []
    del values

    stream = values_of(part, errors="raise", before=asked.append if told else None)
    for place in range(3):
        value = next(stream)
        assert value is left[place]()
        del value
        assert [ref() is None for ref in left] == [at <= place for at in range(3)]
    assert next(stream, "over") == "over"
    assert asked == ([5, 6, 7] if told else [])
    assert part.values == ()


@pytest.mark.parametrize(("errors", "expected"), [("collect", ["a", "F6", "c"]), ("skip", ["a", "c"])])
def test_failures_among_the_values_of_a_part_are_collected_or_skipped(errors, expected):
    part = Part(5, ["a", None, "c"], {6: Failure(6, "item", ValueError("no"))})

    seen = [f"F{v.index}" if isinstance(v, Failure) else v for v in values_of(part, errors=errors)]

    assert seen == expected


def test_a_failure_among_the_values_of_a_part_raises_in_its_place_and_holds_nothing():
    error = ValueError("no")
    failure = Failure(6, Value(), error)
    left = weakref.ref(failure.item)
    stream = values_of(Part(5, ["a", None, "c"], {6: failure}), errors="raise")
    del failure

    assert next(stream) == "a"
    with pytest.raises(ValueError, match="no"):
        next(stream)
    assert next(stream, "over") == "over"
    assert left() is None  # the traceback has the frame of the stream, which has let go of it


def test_a_stream_of_values_can_be_left_early():
    stream = values_of(Part(0, [1, 2, 3]), errors="raise", before=lambda _: None)
    next(stream)

    stream.close()

    assert list(stream) == []


def test_what_was_handed_over_is_held_by_nobody_else():
    items = [Value() for _ in range(3)]
    left = [weakref.ref(item) for item in items]
    source = HandedOverSource(items)
    del items

    assert (source.ready, source.ended, source.remaining) == (True, False, 3)
    assert [item is ref() for item, ref in zip(source.take(2, eager=False), left, strict=False)] == [
        True,
        True,
    ]
    assert [ref() is None for ref in left] == [True, True, False]
    source.take(9, eager=True)
    assert (source.ready, source.ended, source.remaining) == (False, True, 0)
    assert left[2]() is None


def test_nothing_is_left_of_a_source_that_has_ended_but_its_figures():
    error = OSError("gone")
    source = EndedSource(1.5, error)

    assert (source.ready, source.ended, source.remaining) == (False, True, 0)
    assert list(source.take(5, eager=True)) == []
    assert (source.reading, source.error) == (1.5, error)


@pytest.mark.parametrize(
    "source", [EndedSource(), SequenceSource([]), HandedOverSource(()), DirectSource([])]
)
def test_sources_whose_items_are_here_read_nothing_ahead_and_know_nothing(source):
    source.want(5)
    source.close()
    source.close()

    assert source.known() is None
    assert source.error is None
    assert not source.reading


def test_a_direct_source_with_a_total_says_how_much_is_left_and_is_never_sure_of_the_end():
    source = DirectSource(iter("abc"), total=2)
    source.want(9)

    assert (source.remaining, source.ready) == (2, True)
    assert source.take(2, eager=True) == ["a", "b"]
    assert (source.remaining, source.ended) == (1, False)
    assert source.take(5, eager=True) == ["c"]
    assert (source.remaining, source.ended, source.ready) == (1, True, False)
    assert DirectSource("abc").remaining is None


@pytest.mark.parametrize(
    ("act", "kind"),
    [(leave, InputExitedError), (press_ctrl_c, KeyboardInterrupt), (lambda: 1 / 0, ZeroDivisionError)],
)
def test_ctrl_c_reaches_the_input_only_while_it_computes(act, kind):
    arms = SimpleNamespace(armed=False)
    seen = []

    def items():
        seen.append(arms.armed)
        yield 1
        act()

    source = DirectSource(items(), arms=arms)
    source.want(5)

    assert source.take(5, eager=True) == [1]
    assert (seen, arms.armed) == ([True], False)
    assert type(source.error) is kind
    assert source.ended


def test_an_input_that_was_stopped_is_no_broken_input():
    def items():
        yield from ()
        raise StoppedError("the inner map was stopped")

    source = DirectSource(items())
    source.want(1)
    source.take(1, eager=True)

    assert isinstance(source.error, StoppedError)


def skipped_and_failed():
    """Outcomes of four items: one was skipped, one failed."""
    failures = {1: Failure(1, "b", SkippedError("it was skipped")), 3: Failure(3, "d", KeyError("d"))}
    return Part(0, [0, None, 2, None], failures)


def test_a_skipped_item_keeps_its_place_where_failures_are_no_results():
    part = skipped_and_failed()

    results = assemble([part], errors="raise")

    assert results == [0, part.failures[1], 2]
    assert [failure.index for failure in results.failures] == [1, 3]
    assert results.to_frame().index.tolist() == [0, 1, 2]
    assert pickle.loads(pickle.dumps(results)).to_frame().index.tolist() == [0, 1, 2]
    assert assemble([skipped_and_failed()], errors="skip") == [0, 2]


def test_a_stream_yields_a_skipped_item_and_raises_at_a_failed_one():
    stream = values_of(skipped_and_failed(), errors="raise")

    zero, skipped, two = next(stream), next(stream), next(stream)

    assert (zero, skipped.skipped, two) == (0, True, 2)
    with pytest.raises(KeyError, match="d"):
        next(stream)
    assert list(values_of(skipped_and_failed(), errors="skip")) == [0, 2]


def test_a_coroutine_is_replayed_to_its_end():
    async def half(x):
        return x / 2

    assert Failure(3, 8, ValueError("no"), function=half).replay() == 4
