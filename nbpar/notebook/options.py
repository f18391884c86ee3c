"""The options of `%%parallel_map`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, TypeVar

from IPython.core.magic import no_var_expand
from IPython.core.magic_arguments import argument, kwds, magic_arguments

from nbpar.core.checks import BACKENDS, ERRORS, PROGRESS
from nbpar.core.rates.rate import Rate
from nbpar.core.scheduling.needs import Needs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_Function = TypeVar("_Function")


def whole(least: int) -> Callable[[str], int]:
    """A parser for integers of at least `least`."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if number < least:
            raise argparse.ArgumentTypeError(f"expected a whole number from {least}, was {text!r}")
        return number

    return read


def _chunk(text: str) -> int | str:
    if text == "auto":
        return text
    try:
        return whole(1)(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, or auto, was {text!r}") from None


def _seed(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a whole number, was {text!r}") from None


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"expected seconds, more than 0, was {text!r}")
    return seconds


def _rate(text: str) -> str | float:
    rate: str | float = float(text) if text.replace(".", "", 1).isdecimal() else text
    try:
        Rate(rate)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected 10/s, 500/min, 1000/h or a number per second, was {text!r}"
        ) from None
    return rate


def _needs(text: str) -> Needs:
    parts = [part.partition("=") for part in text.split(",")]
    given: dict[str, Any] = {name.strip(): value.strip() for name, _, value in parts}
    try:
        if "cores" in given:
            given["cores"] = float(given["cores"])
        needs = Needs.of(given)
    except ValueError:
        needs = None
    if needs is None or len(given) < len(parts):
        raise argparse.ArgumentTypeError(f"expected memory=2GB,cores=2, or one of the two, was {text!r}")
    return needs


_ARGUMENTS: tuple[tuple[tuple[str, ...], dict[str, Any]], ...] = (
    (
        ("-n", "--workers"),
        {
            "type": whole(1),
            "help": "Maximal number of workers for this cell; by default all.",
        },
    ),
    (
        ("--backend",),
        {
            "choices": BACKENDS,
            "default": "engines",
            "help": "Where items run: on ipyparallel engines, in threads of this process, or one by one.",
        },
    ),
    (
        ("--pool",),
        {
            "metavar": "NAME",
            "help": "Run on the pool of this variable, instead of the default pool or the one in use.",
        },
    ),
    (("--chunk",), {"type": _chunk, "help": "Items sent together: a number, or auto (the default)."}),
    (
        ("-c", "--concurrency"),
        {
            "type": whole(1),
            "help": "Items under way at once on each worker, in a body with await; by default 100.",
        },
    ),
    (
        ("--timeout",),
        {"type": _seconds, "help": "Time limit of one item in seconds; only that item is stopped."},
    ),
    (("--retries",), {"type": whole(0), "help": "Number of times a failed item is retried."}),
    (
        ("--rate",),
        {
            "type": _rate,
            "metavar": "RATE",
            "help": "Limit of items that begin in any window of time: 500/min, 10/s.",
        },
    ),
    (
        ("--needs",),
        {
            "type": _needs,
            "metavar": "NEEDS",
            "help": "What an item needs of its host, memory=2GB,cores=2: as many are under way as fit.",
        },
    ),
    (
        ("--errors",),
        {
            "choices": ERRORS,
            "help": "Effect of a failed item: raise ends the run, collect puts a Failure in its place, "
            "skip leaves it out.",
        },
    ),
    (
        ("--seed",),
        {"type": _seed, "help": "Make the random numbers of each item reproducible."},
    ),
    (("--unordered",), {"action": "store_true", "help": "Results in order of completion."}),
    (
        ("--background",),
        {"action": "store_true", "help": "Return at once; the result is the run."},
    ),
    (
        ("--resume",),
        {
            "metavar": "NAME",
            "help": "Keep results under this name; the same cell, run again, computes only the missing ones.",
        },
    ),
    (
        ("--profile",),
        {
            "action": "store_true",
            "default": None,
            "help": "Sample the functions and lines of items for nbpar.last_run.report.profile.",
        },
    ),
    (("--label",), {"help": "Name of the run in progress displays; by default the loop."}),
    (("--progress",), {"choices": PROGRESS, "help": "Progress display."}),
)

CHOICES: Mapping[str, tuple[str, ...]] = {
    "--backend": BACKENDS,
    "--chunk": ("auto",),
    "--errors": ERRORS,
    "--progress": PROGRESS,
}
"""The values of an option, for completion."""

TAKES_VALUE: Mapping[str, bool] = {
    flag: keywords.get("action") != "store_true" for flags, keywords in _ARGUMENTS for flag in flags
}
"""Every option string, and whether a value follows."""


def magic_with_options(name: str, usage: str) -> Callable[[_Function], _Function]:
    """Make a method a magic with these options; their help is added to its docstring.

    `$name` and `{expression}` on the magic's line are not expanded.
    """

    def decorate(function: _Function) -> _Function:
        for flags, keywords in reversed(_ARGUMENTS):
            function = argument(*flags, **keywords)(function)
        described: _Function = magic_arguments(name)(kwds(usage=usage)(no_var_expand(function)))
        return described

    return decorate


def map_options(parsed: argparse.Namespace) -> dict[str, Any]:
    """The keyword arguments of a pool's map: only the options given, so that the pool's defaults apply."""
    names = {"chunk": "chunksize"}
    simple = (
        "workers",
        "chunk",
        "concurrency",
        "timeout",
        "retries",
        "rate",
        "needs",
        "errors",
        "seed",
        "resume",
        "label",
        "progress",
        "profile",
    )
    given = {names.get(name, name): getattr(parsed, name) for name in simple}
    return {name: value for name, value in given.items() if value is not None}
