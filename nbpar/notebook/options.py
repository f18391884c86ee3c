"""The options of `%%parallel_map`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, TypeVar

from IPython.core.magic import no_var_expand
from IPython.core.magic_arguments import argument, kwds, magic_arguments

from nbpar.core.words import BACKENDS, ERRORS, PROGRESS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_Function = TypeVar("_Function")


def _whole(least: int) -> Callable[[str], int]:
    """A reader of whole numbers from `least`."""

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
        return _whole(1)(text)
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


_ARGUMENTS: tuple[tuple[tuple[str, ...], dict[str, Any]], ...] = (
    (
        ("-n", "--workers"),
        {"type": _whole(1), "help": "How many workers; by default as many as this process may use CPUs."},
    ),
    (
        ("--backend",),
        {
            "choices": BACKENDS,
            "default": "engines",
            "help": "Where items run: on ipyparallel engines, in threads of this process, or one by one.",
        },
    ),
    (("--chunk",), {"type": _chunk, "help": "Items sent together: a number, or auto (the default)."}),
    (
        ("--timeout",),
        {"type": _seconds, "help": "Seconds that one item may take; only that item is stopped."},
    ),
    (("--retries",), {"type": _whole(0), "help": "How often a failed item is tried again."}),
    (
        ("--errors",),
        {
            "choices": ERRORS,
            "help": "What becomes of an item that fails: raise ends the run, collect keeps the failure in "
            "its place, skip leaves it out.",
        },
    ),
    (
        ("--seed",),
        {"type": _seed, "help": "Give item i the same random numbers however the items are spread."},
    ),
    (("--unordered",), {"action": "store_true", "help": "Results in the order in which they are ready."}),
    (
        ("--background",),
        {"action": "store_true", "help": "Return at once; the result is the run."},
    ),
    (
        ("--resume",),
        {
            "metavar": "NAME",
            "help": "Keep results under this name; the same cell, run again, computes only what is missing.",
        },
    ),
    (("--label",), {"help": "What the run is called where its progress is shown; its loop, if not given."}),
    (("--progress",), {"choices": PROGRESS, "help": "How progress is shown."}),
)

CHOICES: Mapping[str, tuple[str, ...]] = {
    "--backend": BACKENDS,
    "--chunk": ("auto",),
    "--errors": ERRORS,
    "--progress": PROGRESS,
}
"""Values that can be proposed for an option."""

TAKES_VALUE: Mapping[str, bool] = {
    flag: keywords.get("action") != "store_true" for flags, keywords in _ARGUMENTS for flag in flags
}
"""Every option as it is typed, and whether a value follows."""


def magic_with_options(name: str, usage: str) -> Callable[[_Function], _Function]:
    """Make a method a magic with these options; its docstring gets their help.

    `$name` and `{expression}` on the magic's line stay as they are.
    """

    def decorate(function: _Function) -> _Function:
        for flags, keywords in reversed(_ARGUMENTS):
            function = argument(*flags, **keywords)(function)
        described: _Function = magic_arguments(name)(kwds(usage=usage)(no_var_expand(function)))
        return described

    return decorate


def map_options(parsed: argparse.Namespace) -> dict[str, Any]:
    """The keyword arguments for a pool's maps: those that were given, the others stay the pool's business."""
    names = {"chunk": "chunksize"}
    simple = ("chunk", "timeout", "retries", "errors", "seed", "resume", "label", "progress")
    given = {names.get(name, name): getattr(parsed, name) for name in simple}
    return {name: value for name, value in given.items() if value is not None}
