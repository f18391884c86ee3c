"""Parse the line of a magic: options, then `TARGETS in EXPRESSION [-> NAME]`.

IPython's own parser splits the whole line like a shell, which breaks a Python expression
apart; here parsing of options stops at the first word that is none.
"""

from __future__ import annotations

import ast
import difflib
import io
import keyword
import re
import tokenize
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

# A word ends at white space; quotes, anywhere in it, protect white space.
_WORD = re.compile(r"""(?:[^\s"']|"[^"]*"|'[^']*')+""")
_QUOTES = re.compile(r""""([^"]*)"|'([^']*)'""")


@dataclass(frozen=True, slots=True)
class OptionLine:
    """A line, split in two parts."""

    arguments: tuple[str, ...]
    """The options, each with its value as `--option=value`, ready for an argument parser."""

    rest: str
    """The rest of the line, verbatim."""


def split_options(line: str, takes_value: Mapping[str, bool]) -> OptionLine:
    """Separate the options at the front of `line` from the rest.

    `takes_value` has every option string as it is typed (`-n`, `--workers`).  `--option value`,
    `--option=value`, `-n4` and `--` (no more options) work as in a shell.

    Raises:
        ValueError: an option is unknown, lacks its value, or has one that it does not accept.
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
    """The first long option inside the loop, or None."""
    for match in re.finditer(r"(?<=\s)--[a-z][a-z-]*(?=[\s=]|$)", _without_strings(rest)):
        if match.group() in takes_value:
            return match.group()
    return None


def unknown_option(option: str, known: Mapping[str, bool]) -> str:
    """The message for an unknown option."""
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
    word, left = _next_word(rest)
    if re.match(r"in\b", left):
        raise ValueError(
            f"option `{option}` needs a value, and {word!r}, which follows it, belongs to the loop; "
            f"write `{option} VALUE {rest}`"
        )
    return _unquoted(word), left


def _joined(option: str, value: str) -> str:
    """One argument, so that a value such as `-3` is not mistaken for an option."""
    return f"{option}={value}" if option.startswith("--") else f"{option}{value}"


def _unquoted(word: str) -> str:
    return _QUOTES.sub(lambda match: match.group(1) or match.group(2) or "", word)


def _without_strings(text: str) -> str:
    return _QUOTES.sub(lambda match: "_" * len(match.group()), text)


FORM = "TARGETS in EXPRESSION [-> NAME]"
EXAMPLE = "%%parallel_map x in items -> results"


@dataclass(frozen=True, slots=True)
class LoopLine:
    """A parsed line."""

    targets: ast.expr
    """The targets bound to each item."""

    expression: ast.expr
    """The expression for the items."""

    name: str | None
    """The notebook's name for the results; None if they are the cell's output."""

    source: str
    """The source of the expression, for messages."""

    written: str
    """The source of targets and expression, on one line."""


def read_loop(text: str, line: int = 1, column: int = 0) -> LoopLine:
    """Parse a loop on one line, optionally with a comment.

    `line` (from 1) and `column` (in bytes) are the text's position in its cell.

    Raises:
        ValueError: the line has another form; the message shows the expected one.
    """
    tokens = _tokens(text)
    loop, name = _split_at_arrow(text, tokens)
    statement = _parse_for(loop, text)
    source = ast.get_source_segment(f"for {loop}", statement.iter) or loop
    for node in (*ast.walk(statement.target), *ast.walk(statement.iter)):
        _move(node, line - 1, column - len("for "))
    return LoopLine(statement.target, statement.iter, name, source, " ".join(loop.split()))


def _tokens(text: str) -> list[tokenize.TokenInfo]:
    """The tokens of a line, up to the first error."""
    tokens: list[tokenize.TokenInfo] = []
    try:
        tokens.extend(tokenize.generate_tokens(io.StringIO(text).readline))
    except (tokenize.TokenError, SyntaxError):
        pass  # the parser reports the same error with a better message
    return tokens


def _split_at_arrow(text: str, tokens: list[tokenize.TokenInfo]) -> tuple[str, str | None]:
    """Separate the loop from the name after the last `->`, which no Python expression contains."""
    comments = [token for token in tokens if token.type == tokenize.COMMENT]
    end = comments[0].start[1] if comments else len(text)
    arrows = [token for token in tokens if token.type == tokenize.OP and token.string == "->"]
    if not arrows:
        return text[:end].rstrip(), None
    name = text[arrows[-1].end[1] : end].strip()
    if not name.isidentifier() or keyword.iskeyword(name):
        raise ValueError(
            f"`->` must be followed by one name for the results, was {name!r}; for example `{EXAMPLE}`"
        )
    return text[: arrows[-1].start[1]].rstrip(), name


def _parse_for(loop: str, text: str) -> ast.For:
    """Parse the loop as the header of a `for` statement."""
    try:
        statements = ast.parse(f"for {loop}:\n    pass").body
    except (SyntaxError, ValueError) as error:
        raise ValueError(_wrong_form(text, getattr(error, "msg", str(error)))) from None
    first = statements[0]
    if len(statements) != 1 or not isinstance(first, ast.For) or not isinstance(first.body[0], ast.Pass):
        raise ValueError(_wrong_form(text, "more than one statement"))
    return first


def _move(node: ast.AST, lines: int, columns: int) -> None:
    for field, distance in (("lineno", lines), ("col_offset", columns)):
        for name in (field, f"end_{field}"):
            if getattr(node, name, None) is not None:
                setattr(node, name, getattr(node, name) + distance)


def _wrong_form(text: str, reason: str) -> str:
    given = f"cannot read {text.strip()!r} as a loop ({reason})" if text.strip() else "the loop is missing"
    return f"{given}; expected `{FORM}`, for example `{EXAMPLE}`"
