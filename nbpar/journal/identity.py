"""What the results of a map depend on besides its items, part by part, so that one can say what changed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import FunctionType
from typing import Any

from nbpar.errors import JournalError
from nbpar.journal.code import used_values
from nbpar.journal.digest import NoDigestError, digest_of
from nbpar.journal.sources import importable

SCHEME = 2
"""Raised when digests of the same values become others."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A function with all that decides what it returns for an item."""

    name: str
    """What the function is called."""

    parts: dict[str, str]
    """A digest of each part, by the words for it."""

    @property
    def digest(self) -> bytes:
        """The name of all parts together."""
        return digest_of(sorted(self.parts.items()))


def identify(function: Callable[..., Any], *, spread: str, seed: int | None) -> Identity:
    """Take a function apart.

    Raises:
        JournalError: it uses a value of which nobody could tell whether it has changed.
    """
    name = getattr(_inner(function), "__name__", None) or type(function).__name__
    return Identity(name, {**_digests(function), **_about(spread, seed)})


def identify_together(
    name: str, functions: Mapping[str, Callable[..., Any]], *, spread: str, seed: int | None
) -> Identity:
    """Take functions apart that make one result together, each by the words for where it stands.

    Raises:
        JournalError: one of them uses a value of which nobody could tell whether it has changed.
    """
    parts = {
        f"{what} {where}": digest
        for where, function in functions.items()
        for what, digest in _digests(function).items()
    }
    return Identity(name, {**parts, **_about(spread, seed)})


def _digests(function: Callable[..., Any]) -> dict[str, str]:
    name = getattr(_inner(function), "__name__", None) or type(function).__name__
    parts: dict[str, str] = {}
    for what, value in _parts(function, name):
        parts[what] = parts.get(what, "") + _digest(what, value)
    return parts


def _about(spread: str, seed: int | None) -> dict[str, str]:
    about = {
        "Python's version": sys.version_info[:2],
        "the seed": seed,
        "the way in which items become arguments": spread,
        "nbpar's way to compare": SCHEME,
    }
    return {what: digest_of(value).hex() for what, value in about.items()}


def changes(before: dict[str, str], now: dict[str, str]) -> str:
    """Say in words how the parts of two functions differ; the first three differences at most."""
    words = [f"{what} changed" for what in now if what in before and before[what] != now[what]]
    words += [f"{what} is new" for what in now if what not in before]
    words += [f"{what} is not used any more" for what in before if what not in now]
    more = [f"{len(words) - 3} more"] if len(words) > 3 else []
    return ", ".join([*words[:3], *more])


def _parts(function: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield what a function consists of, by the words for it."""
    if isinstance(function, partial):
        yield "what is bound to it", [list(function.args), function.keywords]
        yield from _parts(function.func, name)
    elif isinstance(function, FunctionType) and importable(function) is None:
        yield f"the code of `{name}`", function.__code__
        yield from ((f"`{used}`", value) for used, value in used_values(function))
    else:
        yield f"`{name}`, or what it consists of,", function


def _inner(function: Any) -> Any:
    return _inner(function.func) if isinstance(function, partial) else function


def _digest(what: str, value: Any) -> str:
    try:
        return digest_of(value).hex()
    except NoDigestError as error:
        raise JournalError(
            f"cannot resume: nobody could tell whether {what} changed, because it is, or holds, something "
            f"that cannot be pickled ({error}); make it inside the function"
        ) from error
