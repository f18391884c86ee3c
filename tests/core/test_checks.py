"""Options are validated when they are passed, and the message says what is wrong."""

from __future__ import annotations

import numpy as np
import pytest

from nbpar.core.checks import ERRORS, at_least, check_name, check_seconds, check_word, whole_number


@pytest.mark.parametrize("word", ERRORS)
def test_a_word_that_an_option_knows_is_accepted(word):
    check_word("errors", word, ERRORS)


@pytest.mark.parametrize("value", ["rise", None, 3, ["raise"]])
def test_another_word_is_refused_with_those_that_it_knows(value):
    with pytest.raises(ValueError, match=r'^errors must be "raise", "collect" or "skip", was ') as caught:
        check_word("errors", value, ERRORS)

    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3)])
def test_a_whole_number_of_any_type_becomes_an_int(value):
    number = whole_number("workers", value)

    assert (type(number), number) == (int, 3)


@pytest.mark.parametrize("value", [True, False, 3.0, "3", None, [3]])
def test_what_is_no_whole_number_is_refused(value):
    with pytest.raises(TypeError, match=r"^workers must be a whole number, was "):
        whole_number("workers", value)


def test_a_refusal_says_what_else_would_do():
    with pytest.raises(TypeError, match=r"batch_size must be 'auto' or a whole number, was 1.5"):
        at_least(1, "batch_size", 1.5, "'auto' or ")


def test_the_least_number_is_enough_and_less_is_not():
    assert at_least(1, "workers", 1) == 1
    with pytest.raises(ValueError, match=r"^workers must be at least 1, was 0; leave it out$"):
        at_least(1, "workers", 0, hint="; leave it out")


@pytest.mark.parametrize("name", ["a", "my run", "a.b_c-d", "x" * 100, "été 2"])
def test_names_of_files_are_accepted(name):
    check_name("name", name)


@pytest.mark.parametrize("name", ["", " a", "a.", "../up", "a/b", "x" * 101, "a\n", "-"])
def test_names_that_are_no_good_file_names_are_refused(name):
    with pytest.raises(ValueError, match=r"^name must be a name of at most 100 letters and digits"):
        check_name("name", name)


def test_a_name_must_be_text():
    with pytest.raises(TypeError, match=r"^name must be a name, was 3$"):
        check_name("name", 3)


@pytest.mark.parametrize("value", [1, 0.001, np.float32(2), float("inf")])
def test_a_positive_number_of_seconds_is_accepted(value):
    check_seconds("timeout", value)


@pytest.mark.parametrize("value", [0, -1.5, float("nan")])
def test_no_time_at_all_is_refused(value):
    with pytest.raises(ValueError, match=r"^timeout must be a number of seconds above 0, was "):
        check_seconds("timeout", value)


@pytest.mark.parametrize("value", [True, "3", None, 1j])
def test_what_is_no_number_is_no_time(value):
    with pytest.raises(TypeError, match=r"^timeout must be a number of seconds, was "):
        check_seconds("timeout", value)
