"""Read from an exception how long it asks to wait before another attempt.

HTTP servers say it in a header (RFC 9110, section 10.2.3), libraries in an attribute `retry_after`.  What
makes no sense says nothing.  Attributes of exceptions are users' code, which may raise anything.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import Any

from nbpar.host.deadlines import CENTURY, real_number

CAUSES = 8
"""Maximal number of causes of an exception that are looked at."""

HEADER = "Retry-After"

_NUMBER = re.compile(r"\d+(\.\d*)?|\.\d+")


def wait_asked_by(error: BaseException, now: float) -> float | None:
    """Return the seconds that an exception, or one of its causes, asks to wait; None if it does not.

    Args:
        error: its attribute `retry_after` counts, or the header of its `response`, or of itself.
        now: seconds since 1970.
    """
    for one in _with_causes(error):
        if (seconds := seconds_in(getattr(one, "retry_after", None), now)) is not None:
            return seconds
        for owner in (getattr(one, "response", None), one):
            headers = getattr(owner, "headers", None)
            if (value := _header(headers, HEADER)) is not None:
                sent = _date(_header(headers, "Date"))  # the server's clock, which may differ from ours
                if (seconds := seconds_in(value, now if sent is None else sent)) is not None:
                    return seconds
    return None


def seconds_in(value: Any, now: float) -> float | None:
    """Return a waiting time in seconds, a century at most; None if the value is none.

    It may be a number, a `timedelta`, a `datetime`, or a text with a number or an HTTP date.  A time in the
    past is no wait: 0.
    """
    if isinstance(value, timedelta):
        value = value.total_seconds()
    elif isinstance(value, datetime):
        value = _since_1970(value) - now
    elif isinstance(value, (str, bytes)):
        value = _read(value, now)
    seconds = real_number(value)
    return None if seconds is None or math.isnan(seconds) else min(max(seconds, 0.0), CENTURY)


def status_of(error: BaseException) -> int:
    """Return the HTTP status that an exception, or one of its causes, tells; 0 if it tells none."""
    for one in _with_causes(error):
        response = getattr(one, "response", None)
        owners = ((response, ("status_code", "status")), (one, ("status_code", "status", "code")))
        for owner, names in owners:
            for name in names:
                status = getattr(owner, name, None)
                if isinstance(status, int) and 100 <= status < 600:
                    return int(status)
    return 0


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    one: BaseException | None = error
    for _ in range(CAUSES):
        if one is None:
            return
        yield one
        one = one.__cause__


def _header(headers: Any, name: str) -> Any:
    """Return a header of any library's mapping, which mostly ignores case; None if there is none."""
    get = getattr(headers, "get", None)
    if get is None:
        return None
    return next((value for key in (name, name.lower()) if (value := get(key)) is not None), None)


def _read(text: str | bytes, now: float) -> float | None:
    text = (text.decode("latin-1") if isinstance(text, bytes) else str(text)).strip()
    if _NUMBER.fullmatch(text):
        return float(text)
    return None if (date := _date(text)) is None else date - now


def _date(text: Any) -> float | None:
    """Return an HTTP date in seconds since 1970; None if it is none."""
    if not isinstance(text, str):
        return None
    try:
        return _since_1970(parsedate_to_datetime(text))
    except (TypeError, ValueError, IndexError, OverflowError):
        return None


def _since_1970(date: datetime) -> float:
    return (date if date.tzinfo else date.replace(tzinfo=timezone.utc)).timestamp()
