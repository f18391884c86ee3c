"""What exceptions say about the time to wait before another attempt."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from email.message import Message
from email.utils import formatdate
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbpar.core.rates.retry_after import seconds_in, status_of, wait_asked_by
from nbpar.host.deadlines import CENTURY

NOW = 1_700_000_000.0


class Refused(Exception):
    def __init__(self, **attributes):
        super().__init__("refused")
        self.__dict__.update(attributes)


def headers(**names):
    """Headers that ignore case, as those of all HTTP libraries do."""
    message = Message()
    for name, value in names.items():
        message[name.replace("_", "-")] = value
    return message


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (12, 12),
        (0.5, 0.5),
        ("12", 12),
        (" 1.5 ", 1.5),
        (".5", 0.5),
        (b"7", 7),
        (timedelta(minutes=2), 120),
        (datetime.fromtimestamp(NOW + 9, timezone.utc), 9),
        (datetime.fromtimestamp(NOW + 9, timezone.utc).replace(tzinfo=None), 9),
        (formatdate(NOW + 30, usegmt=True), 30),
        (formatdate(NOW + 30, usegmt=True).encode(), 30),
        (formatdate(NOW - 30, usegmt=True), 0),
        (-5, 0),
        (1e30, CENTURY),
        (float("inf"), CENTURY),
    ],
    ids=repr,
)
def test_a_wait_is_a_number_a_duration_a_moment_or_the_text_of_a_header(value, seconds):
    assert seconds_in(value, NOW) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "value",
    [
        *(None, "soon", "", "-3", "1e3", "nan", True, float("nan"), [3], {}),
        *(b"\xff", "Wed, 99 Nov 2023 22:13:20 GMT"),
    ],
    ids=repr,
)
def test_what_makes_no_sense_says_nothing(value):
    assert seconds_in(value, NOW) is None


@given(st.text() | st.binary() | st.floats() | st.integers() | st.none() | st.datetimes() | st.timedeltas())
def test_a_wait_is_never_negative_nor_endless_whatever_is_said(value):
    seconds = seconds_in(value, NOW)

    assert seconds is None or 0 <= seconds <= CENTURY


def test_the_attribute_of_an_exception_counts():
    assert wait_asked_by(Refused(retry_after=3), NOW) == 3


def test_the_header_of_its_response_counts():
    assert wait_asked_by(Refused(response=SimpleNamespace(headers=headers(Retry_After="4"))), NOW) == 4


def test_its_own_headers_count():
    assert wait_asked_by(Refused(headers={"retry-after": "5"}), NOW) == 5


def test_a_header_that_makes_no_sense_says_nothing():
    assert wait_asked_by(Refused(headers=headers(retry_after="soon")), NOW) is None


def test_an_attribute_that_says_nothing_leaves_it_to_the_header():
    assert wait_asked_by(Refused(retry_after=lambda: 1, headers=headers(retry_after="6")), NOW) == 6


def test_a_date_is_read_by_the_clock_of_the_server_that_has_sent_it():
    sent = headers(Retry_After=formatdate(NOW + 1010, usegmt=True), Date=formatdate(NOW + 1000, usegmt=True))

    assert wait_asked_by(Refused(headers=sent), NOW) == 10


def test_the_causes_of_an_exception_are_asked_as_well():
    error = ValueError("ours")
    error.__cause__ = Refused(retry_after=8, status=503)

    assert wait_asked_by(error, NOW) == 8
    assert status_of(error) == 503


def test_a_cycle_of_causes_ends():
    error = ValueError()
    error.__cause__ = error

    assert wait_asked_by(error, NOW) is None


def test_an_ordinary_exception_says_nothing():
    assert wait_asked_by(ValueError("no"), NOW) is None
    assert status_of(ValueError("no")) == 0


@pytest.mark.parametrize(
    "attributes",
    [
        {"response": SimpleNamespace(status_code=429)},
        {"response": SimpleNamespace(status=429)},
        {"status": 429},
        {"status_code": 429},
        {"code": 429},
        {"response": None, "code": 429},
    ],
    ids=repr,
)
def test_the_status_is_found_where_libraries_have_it(attributes):
    assert status_of(Refused(**attributes)) == 429


@pytest.mark.parametrize("attributes", [{"code": "429"}, {"code": 3}, {"status": None}, {"code": 100_000}])
def test_another_number_is_no_status(attributes):
    assert status_of(Refused(**attributes)) == 0
