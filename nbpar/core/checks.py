"""Check the values of options: the words that some take, numbers, names."""

from __future__ import annotations

import operator
import re
from collections.abc import Sequence
from typing import Any

BACKENDS = ("engines", "threads", "serial")
"""Kinds of workers."""

ERRORS = ("raise", "collect", "skip")
"""Policies for failures."""

PROGRESS = ("auto", "widget", "text", "none")
"""Kinds of views."""


def check_word(name: str, value: object, words: Sequence[str]) -> None:
    """Raise ValueError unless an option is one of its words."""
    if value not in words:
        *others, last = [f'"{word}"' for word in words]
        raise ValueError(f"{name} must be {', '.join(others)} or {last}, was {value!r}")


def at_least(least: int, name: str, value: Any, otherwise: str = "", hint: str = "") -> int:
    """Return `value` as an integer of at least `least`.

    Raises:
        TypeError, ValueError: it is not; `otherwise` names other allowed values, `hint` a remedy.
    """
    number = whole_number(name, value, otherwise)
    if number < least:
        raise ValueError(f"{name} must be at least {least}, was {number}{hint}")
    return number


def check_name(name: str, value: Any) -> None:
    """Raise TypeError or ValueError unless it is a valid file name."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a name, was {value!r}")
    if not re.fullmatch(r"\w(?:[\w .-]{0,98}\w)?", value):
        raise ValueError(
            f"{name} must be a name of at most 100 letters and digits, with spaces, '.', '_' or '-' between "
            f"them, was {value!r}"
        )


def whole_number(name: str, value: Any, otherwise: str = "") -> int:
    """Return an integer, which True and False are not; raise TypeError for other values."""
    if not isinstance(value, bool):
        try:
            return operator.index(value)
        except TypeError:
            pass
    raise TypeError(f"{name} must be {otherwise}a whole number, was {value!r}")


def check_seconds(name: str, value: Any) -> None:
    """Raise TypeError or ValueError unless it is a number of seconds above 0."""
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        raise TypeError(f"{name} must be a number of seconds, was {value!r}")
    if not value > 0:
        raise ValueError(f"{name} must be a number of seconds above 0, was {value!r}")
