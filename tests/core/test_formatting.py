"""Names, values, numbers, times and sizes as messages and views show them."""

from __future__ import annotations

import functools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from user_code import leave, press_ctrl_c

from nbpar.core import text
from nbpar.errors import RemoteError

UNITS = {"µs": 1e-6, "ms": 1e-3, "s": 1, "min": 60, "h": 3600}
SIZES = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}


@given(st.floats(1e-6, 1e7))
def test_a_time_has_at_least_two_digits_and_no_four_of_one_unit(number):
    shown = text.seconds(number)

    parts = re.findall(r"([\d.]+) (\w+)", shown)
    assert sum(float(value) * UNITS[unit] for value, unit in parts) == pytest.approx(number, rel=0.06)
    assert all(float(value) < 1000 for value, unit in parts if unit != "h")


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (0, "0 s"),
        (0.9996, "1.0 s"),
        (0.9994, "999 ms"),
        (9.97, "10 s"),
        (119.4, "119 s"),
        (119.6, "2 min"),
        (125, "2 min 5 s"),
        (7199, "119 min 59 s"),
        (7200, "2 h"),
        (12_000, "3 h 20 min"),
        (3e-9, "0.0 µs"),
    ],
)
def test_a_time_is_shown_in_a_unit_that_suits_it(number, shown):
    assert text.seconds(number) == shown


@given(st.integers(0, 10**15))
def test_a_size_has_at_most_three_digits_before_the_point(number):
    value, unit = text.size(number).split()

    assert float(value) * SIZES[unit] == pytest.approx(number, rel=0.06)
    assert float(value) < 1000 or unit == "TB"


@pytest.mark.parametrize(
    ("number", "shown"),
    [(0, "0 B"), (999, "999 B"), (9_960, "10 kB"), (999_600, "1.0 MB"), (2 * 10**15, "2000 TB")],
)
def test_a_size_is_shown_in_a_unit_that_suits_it(number, shown):
    assert text.size(number) == shown


def test_one_is_singular_and_large_numbers_have_separators():
    assert [text.plural(number, "item") for number in (0, 1, 2, 12_345)] == [
        "0 items", "1 item", "2 items", "12,345 items",
    ]  # fmt: skip
    assert text.count(1_000_000) == "1,000,000"
    assert text.percent(0.333) == "33 %"


@given(st.text(max_size=300), st.integers(2, 100))
def test_text_on_one_line_is_never_too_long(content, longest):
    line = text.one_line(content, longest)

    assert len(line) <= longest
    assert len(line.splitlines()) <= 1


def test_a_shortened_line_says_so_and_shows_no_address():
    assert text.one_line("a\n  b   c") == "a b c"
    assert text.one_line("x" * 30, 10) == "x" * 9 + "…"
    assert text.one_line("<function f at 0x7f00ab>") == "<function f>"
    assert text.shown(object()) == "<object object>"


@given(st.text("ab\n", max_size=60), st.integers(2, 30))
def test_the_end_of_a_text_is_an_end_of_it(content, longest):
    end = text.tail(content, longest)

    assert len(end) <= longest
    assert content.endswith(end.removeprefix("…"))
    assert (end == content) is (len(content) <= longest)


def test_the_end_of_a_text_begins_with_a_line_where_one_begins_soon():
    assert text.tail("first line\nxx\n" + "y" * 17, 20) == "…" + "y" * 17
    assert text.tail("no lines at all", 5) == "… all"
    assert text.tail("short", 5) == "short"
    assert text.tail("z" * 10 + "\n" + "y" * 3, 12) == "…" + "z" * 7 + "\nyyy"


def test_an_exception_is_shown_like_the_last_line_of_its_traceback():
    assert text.error(ValueError("two\nlines")) == "ValueError: two lines"
    assert text.error(KeyError()) == "KeyError"
    assert text.error(OSError("x" * 500), 20) == "OSError: xxxxxxxxxx…"


@pytest.mark.parametrize("broken", [leave, lambda _: 3, lambda _: 1 / 0])
def test_an_exception_whose_text_cannot_be_made_has_the_replacement(broken):
    class Broken(Exception):
        __str__ = broken

    assert text.text_of(Broken(), "no text") == "no text"
    assert text.error(Broken()) == "Broken"


def test_text_of_a_class_of_its_own_becomes_plain_text():
    class Loud(str):
        __slots__ = ()

        def __str__(self):
            return Loud("other")

        __len__ = leave

    class Odd(Exception):
        def __str__(self):
            return Loud("quiet")

    said = text.text_of(Odd())

    assert (type(said), said) == (str, "quiet")


def test_a_function_is_called_by_its_name_and_a_callable_by_its_type():
    class Model:
        def fit(self):
            """Has a qualified name."""

        def __call__(self):
            """Has no name of its own."""

    assert text.function_name(Model.fit) == "fit"
    assert text.full_function_name(Model.fit).endswith("Model.fit")
    assert text.function_name(Model()) == text.full_function_name(Model()) == "Model"
    assert text.function_name(functools.partial(len)) == "partial"


@pytest.mark.parametrize("name", [3, "", None])
def test_a_name_that_is_no_text_is_none(name):
    class Named:
        __name__ = name

    assert text.function_name(Named()) == "Named"


def test_a_name_that_cannot_be_asked_for_is_none():
    class Named:
        __name__ = property(leave)

    assert text.function_name(Named()) == "Named"


@pytest.mark.parametrize(
    ("ask", "method"),
    [
        (text.short, "__repr__"),
        (text.text_of, "__str__"),
        (text.function_name, "__getattr__"),
        (text.full_function_name, "__getattr__"),
    ],
)
def test_ctrl_c_while_a_text_is_made_is_not_swallowed(ask, method):
    slow = type("Slow", (), {method: press_ctrl_c})()

    with pytest.raises(KeyboardInterrupt):
        ask(slow)


def test_long_bytes_are_shown_by_their_beginning_and_length():
    assert text.short(b"a" * 1000) == f"{b'a' * 40!r}... (1000 bytes)"
    assert text.short(bytearray(1000)).endswith("... (1000 bytes)")
    assert text.short(b"ab") == "b'ab'"


def test_a_representation_that_is_far_too_long_is_cut_in_its_middle():
    names = {f"{place}" * 40: "y" * 100 for place in range(4)}

    shown = text.short(names, 100)

    assert shown.startswith("{'0000")
    assert "..." in shown
    assert len(shown) <= 200


@given(st.text(st.characters(codec=None, categories=None)))
def test_text_without_surrogates_can_be_written_and_other_text_stays(content):
    plain = text.without_surrogates(content)

    plain.encode()
    if not any("\ud800" <= letter <= "\udfff" for letter in content):
        assert plain == content


def test_an_undecodable_file_name_shows_its_byte():
    assert text.without_surrogates("caf\udce9 ü") == "caf\\udce9 ü"
    assert text.without_surrogates("café") == "café"


def test_what_stands_for_an_exception_is_called_by_its_kind():
    stand_in = RemoteError(
        "HTTPStatusError: 429 too many", kinds=("httpx.HTTPStatusError", "builtins.OSError")
    )

    assert text.kind_of(stand_in) == "HTTPStatusError"
    assert text.error(stand_in) == "HTTPStatusError: 429 too many"
    assert text.error(RemoteError("gone")) == "RemoteError: gone"


def test_a_time_that_is_left_is_rounded_up():
    shown = [text.whole_seconds(number) for number in (0.2, 12.0, 12.1, 125)]

    assert shown == ["1 s", "12 s", "13 s", "2 min 5 s"]
