"""Propose the options of `%%parallel_map` and the commands of `%nbpar` while they are typed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbpar.notebook.options import CHOICES, TAKES_VALUE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_CELL_MAGIC = "%%parallel_map"
_LINE_MAGIC = "%nbpar"


def proposals(before: str, token: str, commands: Iterable[str]) -> list[str] | None:
    """What may stand at the cursor, or None where these magics have no say.

    `before` is the line up to the cursor, `token` its end that a proposal replaces.
    """
    magic, space, line = before.lstrip().partition(" ")
    if not space:
        return None
    if magic == _LINE_MAGIC:
        return _starting(token, commands) if line.strip() in ("", token) else None
    return _option_proposals(line, token) if magic == _CELL_MAGIC else None


def _option_proposals(line: str, token: str) -> list[str] | None:
    words = line.removesuffix(token).replace("=", " ").split()
    awaits = _awaits_value(words)
    if awaits is None:
        return None
    if awaits:
        return _starting(token, CHOICES.get(awaits, ()))
    if token and not token.startswith("-"):
        return None
    return [option for option in _starting(token, TAKES_VALUE) if option not in words]


def _awaits_value(words: list[str]) -> str | None:
    """The option whose value comes next; empty when an option may come; None when the loop has begun."""
    awaits = ""
    for word in words:
        if awaits:
            awaits = ""
        elif word not in TAKES_VALUE:
            return None
        elif TAKES_VALUE[word]:
            awaits = word
    return awaits


def _starting(token: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(token)]


def option_matcher(commands: Iterable[str]) -> Callable[[Any], Any] | None:
    """A matcher for IPython's completer; None before IPython 8.6, which has no such matchers."""
    try:
        from IPython.core.completer import SimpleCompletion, context_matcher
    except ImportError:
        return None
    known = tuple(commands)

    def nbpar_options(context: Any) -> dict[str, Any]:
        found = proposals(context.text_until_cursor, context.token, known)
        completions = [SimpleCompletion(text=text, type="param") for text in found or ()]
        # An empty token may also be the start of the loop: let others propose names too.
        return {"completions": completions, "suppress": bool(completions) and bool(context.token)}

    matcher: Callable[[Any], Any] = context_matcher()(nbpar_options)
    return matcher
