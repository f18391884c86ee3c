"""Read `TARGETS in EXPRESSION [-> NAME]`, the loop that stands on the line of a magic.

Python's own parser decides what targets and expressions are, so everything that may stand
in `for TARGETS in EXPRESSION:` may stand here.
"""

from __future__ import annotations

import ast
import io
import keyword
import tokenize
from dataclasses import dataclass

FORM = "TARGETS in EXPRESSION [-> NAME]"
EXAMPLE = "%%parallel_map x in items -> results"


@dataclass(frozen=True, slots=True)
class Loop:
    """What a line asks for."""

    targets: ast.expr
    """What each item is bound to."""

    expression: ast.expr
    """Where the items come from."""

    name: str | None
    """What the results are called in the notebook; None when they are the cell's output."""

    source: str
    """The expression as it was written, for messages."""

    written: str
    """Targets and expression as they were written, on one line."""


def read_loop(text: str, line: int = 1, column: int = 0) -> Loop:
    """Read a loop from one line; a comment may end it.

    `line` (from 1) and `column` (in bytes) tell where the text stands in its cell.

    Raises:
        ValueError: the line has another form; the message shows the right one.
    """
    tokens = _tokens(text)
    loop, name = _split_at_arrow(text, tokens)
    statement = _parse_for(loop, text)
    source = ast.get_source_segment(f"for {loop}", statement.iter) or loop
    for node in (*ast.walk(statement.target), *ast.walk(statement.iter)):
        _move(node, line - 1, column - len("for "))
    return Loop(statement.target, statement.iter, name, source, " ".join(loop.split()))


def _tokens(text: str) -> list[tokenize.TokenInfo]:
    """The tokens of a line, up to where Python cannot read it."""
    tokens: list[tokenize.TokenInfo] = []
    try:
        tokens.extend(tokenize.generate_tokens(io.StringIO(text).readline))
    except (tokenize.TokenError, SyntaxError):
        pass  # the parser finds the same mistake and words it better
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
    """Parse the loop as the head of a `for` statement."""
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
