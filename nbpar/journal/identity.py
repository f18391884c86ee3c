"""Everything that the results of a map depend on besides its items, part by part."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import FunctionType
from typing import Any

from nbpar.core.text import function_name
from nbpar.errors import JournalError
from nbpar.journal.code import used_values
from nbpar.journal.digest import NoDigestError, digest_of
from nbpar.journal.sources import importable

SCHEME = 2
"""Incremented when digests of the same values change."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A function with all that its results for an item depend on."""

    name: str
    """The function's name."""

    parts: dict[str, str]
    """A digest of each part, by its description."""

    @property
    def digest(self) -> bytes:
        """The identifier of all parts together."""
        return digest_of(sorted(self.parts.items()))


def identify(function: Callable[..., Any], *, spread: str, seed: int | None) -> Identity:
    """Return the parts of a function that determine its results.

    Raises:
        JournalError: it uses a value whose changes cannot be detected.
    """
    name = function_name(_inner(function))
    return Identity(name, {**_digests(function), **_about(spread, seed)})


def identify_together(
    name: str, functions: Mapping[str, Callable[..., Any]], *, spread: str, seed: int | None
) -> Identity:
    """Return the parts of functions that make one result together, each with a description of its place.

    Raises:
        JournalError: one of them uses a value whose changes cannot be detected.
    """
    parts = {
        f"{what} {where}": digest
        for where, function in functions.items()
        for what, digest in _digests(function).items()
    }
    return Identity(name, {**parts, **_about(spread, seed)})


def _digests(function: Callable[..., Any]) -> dict[str, str]:
    name = function_name(_inner(function))
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
    """Describe how the parts of two functions differ; the first three differences at most."""
    words = [f"{what} changed" for what in now if what in before and before[what] != now[what]]
    words += [f"{what} is new" for what in now if what not in before]
    words += [f"{what} is not used any more" for what in before if what not in now]
    more = [f"{len(words) - 3} more"] if len(words) > 3 else []
    return ", ".join([*words[:3], *more])


def _parts(function: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield the parts of a function, by their descriptions."""
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
            f"cannot resume: cannot detect changes of {what}, because it is, or holds, something "
            f"that cannot be pickled ({error}); make it inside the function"
        ) from error
