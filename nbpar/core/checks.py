"""Check the values of arguments: words, numbers, times, names, functions, environment variables.

Each check raises at once, with the argument's name, the value, and what is allowed.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nbpar.core.text import short
from nbpar.host.deadlines import CENTURY, real_number

BACKENDS = ("engines", "threads", "serial")
"""Kinds of workers."""

ERRORS = ("raise", "collect", "skip")
"""Policies for failures."""

PROGRESS = ("auto", "widget", "text", "none")
"""Kinds of views."""

MOST_WORKERS = 2**16
"""Number of workers that is not exceeded."""

Variables = tuple[tuple[str, str], ...]
"""Environment variables."""


def check_word(name: str, value: object, words: Sequence[str]) -> None:
    """Raise ValueError unless an option is one of its words."""
    if not isinstance(value, str) or value not in words:
        *others, last = [f'"{word}"' for word in words]
        raise ValueError(f"{name} must be {', '.join(others)} or {last}, was {short(value)}")


def at_least(least: int, name: str, value: Any, otherwise: str = "", hint: str = "") -> int:
    """Return `value` as an integer of at least `least`.

    Raises:
        TypeError, ValueError: it is not; `otherwise` names other allowed values, `hint` a remedy.
    """
    number = whole_number(name, value, otherwise)
    if number < least:
        raise ValueError(f"{name} must be at least {least}, was {number}{hint}")
    return number


def number_of_workers(value: Any, name: str = "workers", otherwise: str = "", hint: str = "") -> int:
    """Return a number of workers as an integer.

    Raises:
        TypeError, ValueError: it is none, less than 1, or more than any computer or cluster can run.
    """
    number = at_least(1, name, value, otherwise, hint)
    if number > MOST_WORKERS:
        raise ValueError(f"{name} must be at most {MOST_WORKERS}, was {number}")
    return number


def check_name(name: str, value: Any) -> None:
    """Raise TypeError or ValueError unless it is a valid file name."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a name, was {short(value)}")
    if not re.fullmatch(r"\w(?:[\w .-]{0,98}\w)?", value):
        raise ValueError(
            f"{name} must be a name of at most 100 letters and digits, with spaces, '.', '_' or '-' between "
            f"them, was {short(value)}"
        )


def check_text(name: str, value: object, otherwise: str = "") -> None:
    """Raise TypeError unless it is a text."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be {otherwise}a text, was {short(value)}")


def check_flag(name: str, value: object) -> None:
    """Raise TypeError unless it is True or False, as a number or NumPy's too."""
    if type(value).__name__ not in ("bool", "bool_") and not (isinstance(value, int) and value in (0, 1)):
        raise TypeError(f"{name} must be True or False, was {short(value)}")


def check_function(name: str, value: object, otherwise: str = "") -> None:
    """Raise TypeError unless it can be called."""
    if not callable(value):
        raise TypeError(f"{name} must be {otherwise}a function, was {short(value)}")


def arguments_of(name: str, value: Any, function: object, its_name: str) -> tuple[Any, ...]:
    """Return the positional arguments that a user gives to a function.

    Raises:
        TypeError: they are no tuple, or another iterable, of arguments; a text counts as one argument.
        ValueError: there is no function to take them.
    """
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise TypeError(f"{name} must be a tuple of arguments, was {short(value)}; write `({short(value)},)`")
    arguments = tuple(value)
    if arguments and function is None:
        raise ValueError(f"{name} are arguments of {its_name}, but there is none, were {short(arguments)}")
    return arguments


def environment_variables(name: str, value: Any) -> Variables:
    """Return the environment variables of a dict.

    Raises:
        TypeError: it is no dict of texts.
        ValueError: a system takes no variable of this name or value.
    """
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a dict of environment variables, was {short(value)}")
    for variable, content in value.items():
        if not isinstance(variable, str):
            raise TypeError(f"{name} must have texts as names of variables, had {short(variable)}")
        if not variable or "=" in variable or "\0" in variable:
            raise ValueError(f"{name} must have names of variables, without '=', had {short(variable)}")
        if not isinstance(content, str):
            hint = f"; write {str(content)!r}" if isinstance(content, (int, float)) else ""
            raise TypeError(f"{name}[{variable!r}] must be a text, was {short(content)}{hint}")
        if "\0" in content:
            raise ValueError(f"{name}[{variable!r}] must be without null characters, was {short(content)}")
    return tuple(value.items())


def whole_number(name: str, value: Any, otherwise: str = "") -> int:
    """Return an integer, which True and False are not; raise TypeError for other values."""
    if not isinstance(value, bool):
        try:
            return operator.index(value)
        except TypeError:
            pass
    raise TypeError(f"{name} must be {otherwise}a whole number, was {short(value)}")


def check_seconds(name: str, value: Any) -> float:
    """Return a number of seconds above 0, a century at most; raise TypeError or ValueError otherwise."""
    seconds = real_number(value)
    if seconds is None:
        raise TypeError(f"{name} must be a number of seconds, was {short(value)}")
    if not seconds > 0:
        raise ValueError(f"{name} must be a number of seconds above 0, was {short(value)}")
    return min(seconds, CENTURY)
