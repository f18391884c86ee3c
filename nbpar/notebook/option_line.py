"""Take the options off the front of a magic's line and leave the rest as it was written.

IPython's own reader splits the whole line like a shell, which breaks a Python expression
apart; here reading stops at the first word that is no option.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

# A word is anything up to white space; quotes, anywhere in it, keep white space together.
_WORD = re.compile(r"""(?:[^\s"']|"[^"]*"|'[^']*')+""")
_QUOTES = re.compile(r""""([^"]*)"|'([^']*)'""")


@dataclass(frozen=True, slots=True)
class OptionLine:
    """A line in its two parts."""

    arguments: tuple[str, ...]
    """The options, each with its value as `--option=value`, ready for an argument parser."""

    rest: str
    """What follows, untouched."""


def split_options(line: str, takes_value: Mapping[str, bool]) -> OptionLine:
    """Separate the options at the front of `line` from the rest.

    `takes_value` has every option string as it is typed (`-n`, `--workers`).  `--option value`,
    `--option=value`, `-n4` and `--` (no more options) mean what they mean in a shell.

    Raises:
        ValueError: an option is unknown, has no value, or has one that it does not take.
    """
    arguments: list[str] = []
    rest = line.lstrip()
    while rest.startswith("-"):
        word, rest = _next_word(rest)
        if word == "--":
            break
        option, value = _option_and_value(word, takes_value)
        if takes_value[option] and value is None:
            value, rest = _value_after(option, rest)
        arguments.append(option if value is None else _joined(option, value))
    return OptionLine(tuple(arguments), rest)


def misplaced_option(rest: str, takes_value: Mapping[str, bool]) -> str | None:
    """The first long option in what should be a loop, or None.

    Python would read `x in xs --unordered` as a subtraction.
    """
    for match in re.finditer(r"(?<=\s)--[a-z][a-z-]*(?=[\s=]|$)", _without_strings(rest)):
        if match.group() in takes_value:
            return match.group()
    return None


def unknown_option(option: str, known: Mapping[str, bool]) -> str:
    """What to tell someone who typed an option that does not exist."""
    near = difflib.get_close_matches(option, known, n=3, cutoff=0.6)
    if near:
        return f"unknown option `{option}`; did you mean {' or '.join(f'`{name}`' for name in near)}?"
    return f"unknown option `{option}`; the options are {', '.join(known)}"


def _next_word(text: str) -> tuple[str, str]:
    match = _WORD.match(text)
    if match is None:
        raise ValueError(f"a quote is not closed in {text!r}; write `\"...\"` or `'...'`")
    return match.group(), text[match.end() :].lstrip()


def _option_and_value(word: str, takes_value: Mapping[str, bool]) -> tuple[str, str | None]:
    """Separate `--option=value` and `-n4`; check that the option exists."""
    option, equals, value = word.partition("=")
    if option not in takes_value and not word.startswith("--") and takes_value.get(word[:2]):
        return word[:2], _unquoted(word[2:].removeprefix("="))
    if option not in takes_value:
        raise ValueError(unknown_option(option, takes_value))
    if equals and not takes_value[option]:
        raise ValueError(f"option `{option}` takes no value, was given {value!r}; write `{option}` alone")
    return option, _unquoted(value) if equals else None


def _value_after(option: str, rest: str) -> tuple[str, str]:
    if not rest:
        raise ValueError(f"option `{option}` needs a value; write `{option} VALUE` before the loop")
    word, rest = _next_word(rest)
    return _unquoted(word), rest


def _joined(option: str, value: str) -> str:
    """One argument, so that a value such as `-3` is not taken for an option."""
    return f"{option}={value}" if option.startswith("--") else f"{option}{value}"


def _unquoted(word: str) -> str:
    return _QUOTES.sub(lambda match: match.group(1) or match.group(2) or "", word)


def _without_strings(text: str) -> str:
    return _QUOTES.sub(lambda match: "_" * len(match.group()), text)
