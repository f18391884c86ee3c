"""Tab completion for `%%parallel_map` and `%nbpar`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbpar.notebook.options import CHOICES, TAKES_VALUE
from nbpar.notebook.places import places_among, pools_among
from nbpar.notebook.start_line import start_proposals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_CELL_MAGIC = "%%parallel_map"
_LINE_MAGIC = "%nbpar"


def proposals(
    before: str, token: str, commands: Iterable[str], names: Mapping[str, Any] | None = None
) -> list[str] | None:
    """The completions at the cursor, or None outside the options of these magics.

    `before` is the line up to the cursor, `token` its end, which a completion replaces; `names` are the
    notebook's.
    """
    magic, space, line = before.lstrip().partition(" ")
    if not space:
        return None
    names = names or {}
    if magic == _LINE_MAGIC:
        command, *words = line.removesuffix(token).split() or [""]
        if command == "start" and (token.startswith("-") or words[-1:] in (["--ssh"], ["--gpus"])):
            return _starting(token, start_proposals(words))
        if line.removesuffix(token).split() == ["use"]:
            return _starting(token, places_among(names))
        return _starting(token, commands) if line.strip() in ("", token) else None
    return _option_proposals(line, token, names) if magic == _CELL_MAGIC else None


def _option_proposals(line: str, token: str, names: Mapping[str, Any]) -> list[str] | None:
    words = line.removesuffix(token).replace("=", " ").split()
    awaits = _awaits_value(words)
    if awaits is None:
        return None
    if awaits:
        return _starting(token, pools_among(names) if awaits == "--pool" else CHOICES.get(awaits, ()))
    if token and not token.startswith("-"):
        return None
    return [option for option in _starting(token, TAKES_VALUE) if option not in words]


def _awaits_value(words: list[str]) -> str | None:
    """The option whose value is expected; "" if an option is expected; None inside the loop."""
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


def option_matcher(
    commands: Iterable[str], names: Callable[[], Mapping[str, Any]] = dict
) -> Callable[[Any], Any] | None:
    """A matcher for IPython's completer; None before IPython 8.6, which has no such matchers.

    `names` returns the notebook's.
    """
    try:
        from IPython.core.completer import SimpleCompletion, context_matcher
    except ImportError:
        return None
    known = tuple(commands)

    def nbpar_options(context: Any) -> dict[str, Any]:
        found = proposals(context.text_until_cursor, context.token, known, names())
        completions = [SimpleCompletion(text=text, type="param") for text in found or ()]
        # An empty token may also be the start of the loop: do not suppress completions of names.
        return {"completions": completions, "suppress": bool(completions) and bool(context.token)}

    matcher: Callable[[Any], Any] = context_matcher()(nbpar_options)
    return matcher
