"""Collaboration: when a failed item is tried again."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbpar.core.rates.retry import Retry
from nbpar.errors import RemoteError

seconds = st.floats(0, 1e6)


def test_by_default_nothing_is_tried_again():
    assert not Retry().again(ValueError(), attempt=1)


def test_an_item_is_tried_again_as_many_times_as_asked():
    retry = Retry(times=2)

    assert [retry.again(ValueError(), attempt) for attempt in (1, 2, 3, 4)] == [True, True, False, False]


def test_only_the_chosen_exceptions_are_worth_another_attempt():
    retry = Retry(times=5, on=(ConnectionError, TimeoutError))

    assert retry.again(ConnectionResetError(), 1)
    assert retry.again(TimeoutError(), 1)
    assert not retry.again(ValueError(), 1)


def test_one_exception_type_may_be_given_alone_or_in_a_list():
    assert Retry(on=OSError) == Retry(on=(OSError,)) == Retry(on=[OSError])


def test_stop_is_never_tried_again():
    assert not Retry(times=5).again(KeyboardInterrupt(), 1)


def test_delays_grow_from_the_first():
    retry = Retry(times=4, first=0.5, growth=3)

    assert [retry.delay_before(attempt) for attempt in (1, 2, 3, 4)] == [0, 0.5, 1.5, 4.5]


def test_no_delay_grows_beyond_the_longest():
    retry = Retry(times=9, first=1, growth=10, longest=20)

    assert [retry.delay_before(attempt) for attempt in (2, 3, 4, 100_000)] == [1, 10, 20, 20]


def test_jitter_adds_its_share_of_the_delay():
    retry = Retry(times=1, first=10, jitter=0.5)

    assert [retry.delay_before(2, dice) for dice in (0, 0.5, 1)] == [10, 12.5, 15]


def test_no_first_delay_means_no_delay_at_all():
    assert Retry(times=9, first=0, growth=10).delay_before(100_000, 1) == 0


@given(seconds, st.floats(1, 100), seconds, st.integers(1, 10**6), st.floats(0, 1), st.floats(0, 1))
def test_a_delay_is_never_negative_nor_longer_than_the_longest_with_its_jitter(
    first, growth, longest, attempt, share, dice
):
    retry = Retry(times=1, first=first, growth=growth, longest=longest, jitter=share)

    assert 0 <= retry.delay_before(attempt, dice) <= longest * (1 + share)


@given(seconds, st.floats(1, 100), seconds, st.integers(1, 10**4))
def test_delays_never_shrink_from_one_attempt_to_the_next(first, growth, longest, attempt):
    retry = Retry(times=1, first=first, growth=growth, longest=longest)

    assert retry.delay_before(attempt) <= retry.delay_before(attempt + 1)


@pytest.mark.parametrize(
    ("given_", "expected"),
    [(None, Retry()), (0, Retry()), (3, Retry(times=3)), (Retry(2, first=5), Retry(2, first=5.0))],
)
def test_a_number_none_or_a_retry_says_how_to_retry(given_, expected):
    assert Retry.of(given_) == expected


def test_a_number_of_numpy_counts_as_a_number():
    import numpy as np

    assert type(Retry.of(np.int64(3)).times) is int


@pytest.mark.parametrize("wrong", ["3", 2.5, True, [1]])
def test_something_else_than_a_number_of_retries_is_refused(wrong):
    with pytest.raises(TypeError, match="retries must be a whole number or a Retry, was "):
        Retry.of(wrong)


def test_a_negative_number_of_retries_is_refused():
    with pytest.raises(ValueError, match="retries must be at least 0, was -1"):
        Retry.of(-1)


@pytest.mark.parametrize("name", ["first", "longest", "jitter", "longest_after"])
@pytest.mark.parametrize("wrong", [-0.1, float("inf"), float("nan")])
def test_a_number_out_of_range_is_refused_by_name(name, wrong):
    with pytest.raises(ValueError, match=rf"{name} must be a finite number of at least 0, was {wrong}"):
        Retry(**{name: wrong})


def test_delays_that_shrink_are_refused():
    with pytest.raises(ValueError, match=r"growth must be a finite number of at least 1, was 0\.5"):
        Retry(growth=0.5)


@pytest.mark.parametrize("wrong", ["1", None, True])
def test_a_delay_that_is_no_number_is_refused(wrong):
    with pytest.raises(TypeError, match="first must be a number, was "):
        Retry(first=wrong)


@pytest.mark.parametrize("wrong", [KeyboardInterrupt, BaseException, "OSError", OSError(), (OSError, int)])
def test_only_exceptions_that_are_no_stop_can_be_retried(wrong):
    with pytest.raises(TypeError, match="on must hold Exception or subclasses of it, had "):
        Retry(on=wrong)


def test_a_retry_survives_pickling():
    retry = Retry(3, first=1, on=OSError)

    assert pickle.loads(pickle.dumps(retry)) == retry


def test_a_delay_that_no_number_can_hold_is_the_longest():
    assert Retry(9, growth=1e300, longest=5.0).delay_before(9) == 5.0


def test_an_item_waits_for_as_long_as_its_exception_asks_for():
    retry = Retry(times=3, first=1, growth=2, jitter=0.5)

    assert [retry.delay_before(2, dice, after=10) for dice in (0, 1)] == [10, 15]
    assert retry.delay_before(3, after=1) == 2
    assert Retry(times=1, first=0, longest=1).delay_before(2, after=10) == 10
    assert retry.delay_before(1, after=10) == 0


def test_an_item_that_would_wait_too_long_fails_at_once():
    retry = Retry(times=3, longest_after=60)

    assert retry.again(ValueError(), 1, after=60)
    assert not retry.again(ValueError(), 1, after=61)


def test_what_stands_for_an_exception_that_cannot_travel_is_of_its_kinds():
    stand_in = RemoteError("text", kinds=("aiohttp.ClientResponseError", "builtins.OSError"))

    assert Retry(times=1, on=OSError).again(stand_in, 1)
    assert not Retry(times=1, on=ValueError).again(stand_in, 1)


@pytest.mark.parametrize("wrong", [None, 3, "retry_after"])
def test_what_cannot_be_asked_for_a_wait_is_refused(wrong):
    with pytest.raises(TypeError, match="after must be True, False or a function of the exception, was "):
        Retry(after=wrong)
