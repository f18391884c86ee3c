"""Options are validated when they are passed, and the message says what is wrong."""

from __future__ import annotations

import numpy as np
import pytest

from nbpar.core.checks import (
    ERRORS,
    MOST_WORKERS,
    arguments_of,
    at_least,
    check_flag,
    check_function,
    check_name,
    check_seconds,
    check_text,
    check_word,
    environment_variables,
    number_of_workers,
    whole_number,
)
from nbpar.host.deadlines import CENTURY, waiting_time


@pytest.mark.parametrize("word", ERRORS)
def test_a_word_that_an_option_knows_is_accepted(word):
    check_word("errors", word, ERRORS)


@pytest.mark.parametrize("value", ["rise", None, 3, ["raise"], np.array(["raise", "skip"])])
def test_another_word_is_refused_with_those_that_it_knows(value):
    with pytest.raises(ValueError, match=r'^errors must be "raise", "collect" or "skip", was ') as caught:
        check_word("errors", value, ERRORS)

    assert str(caught.value).endswith(f"was {value!r}")


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


@pytest.mark.parametrize("value", [True, "3", None, 1j, np.array([1, 2])])
def test_what_is_no_number_is_no_time(value):
    with pytest.raises(TypeError, match=r"^timeout must be a number of seconds, was "):
        check_seconds("timeout", value)


@pytest.mark.parametrize("value", [float("inf"), 1e300, 10**400])
def test_a_time_is_a_century_at_most_so_that_clocks_can_add_it(value):
    assert check_seconds("timeout", value) == CENTURY
    assert waiting_time(value) == CENTURY


@pytest.mark.parametrize(("value", "seconds"), [(None, None), (0, 0), (-3, 0), (-(10**400), 0), (2, 2)])
def test_a_deadline_in_the_past_is_a_time_of_0(value, seconds):
    assert waiting_time(value) == seconds


@pytest.mark.parametrize("value", [True, "3", object(), [1], np.array([1, 2])])
def test_what_is_no_number_cannot_be_waited_for(value):
    with pytest.raises(TypeError, match=r"^timeout must be None or a number of seconds, was "):
        waiting_time(value)


def test_not_a_number_cannot_be_waited_for():
    with pytest.raises(ValueError, match=r"^timeout must be None or a number of seconds, was nan$"):
        waiting_time(float("nan"))


def test_a_number_of_workers_has_a_limit():
    assert number_of_workers(np.int64(MOST_WORKERS)) == MOST_WORKERS
    with pytest.raises(ValueError, match=r"^workers must be at most 65536, was 65537$"):
        number_of_workers(MOST_WORKERS + 1)
    with pytest.raises(ValueError, match=r"^n must be at least 1, was 0; hint$"):
        number_of_workers(0, "n", hint="; hint")


@pytest.mark.parametrize("value", [True, False, 0, 1, np.bool_(True)])
def test_truth_values_are_flags(value):
    check_flag("heal", value)


@pytest.mark.parametrize("value", ["no", "", None, 2, [], np.array([True])])
def test_what_only_counts_as_true_or_false_is_no_flag(value):
    with pytest.raises(TypeError, match=r"^heal must be True or False, was "):
        check_flag("heal", value)


def test_texts_and_functions_are_told_from_others():
    check_text("label", "x")
    check_function("initializer", print)
    with pytest.raises(TypeError, match=r"^label must be None or a text, was 5$"):
        check_text("label", 5, "None or ")
    with pytest.raises(TypeError, match=r"^initializer must be None or a function, was 5$"):
        check_function("initializer", 5, "None or ")


def test_arguments_are_any_iterable_but_a_text():
    assert arguments_of("initargs", [1, 2], print, "initializer=") == (1, 2)
    assert arguments_of("initargs", (), None, "initializer=") == ()
    for one in (5, "ab", b"ab"):
        with pytest.raises(TypeError, match=r"^initargs must be a tuple .*, was (.*); write `\(\1,\)`$"):
            arguments_of("initargs", one, print, "initializer=")


def test_arguments_need_a_function():
    with pytest.raises(ValueError, match=r"^initargs are arguments of initializer=, but there is none"):
        arguments_of("initargs", (1,), None, "initializer=")


def test_environment_variables_are_texts():
    assert environment_variables("env", {"A": "1", "B": ""}) == (("A", "1"), ("B", ""))


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (5, TypeError, "env must be a dict of environment variables, was 5"),
        ({5: "a"}, TypeError, "env must have texts as names of variables, had 5"),
        ({"A": 5}, TypeError, "env['A'] must be a text, was 5; write '5'"),
        ({"A": None}, TypeError, "env['A'] must be a text, was None"),
        ({"": "a"}, ValueError, "env must have names of variables, without '=', had ''"),
        ({"A=B": "a"}, ValueError, "env must have names of variables, without '=', had 'A=B'"),
        ({"A": "a\0"}, ValueError, "env['A'] must be without null characters, was 'a\\x00'"),
    ],
    ids=repr,
)
def test_what_is_no_environment_variable_is_refused(value, error, message):
    with pytest.raises(error) as caught:
        environment_variables("env", value)

    assert str(caught.value) == message
