"""Add a note to an exception that says which item it belongs to.

The note follows the exception's text where notes are shown (PEP 678).  Where they are not,
in Python 3.10 and old IPythons, a cause has the same text, which is always shown.
"""

from __future__ import annotations

import sys

from nbpar.core.call_style import CallStyle
from nbpar.core.outcome import Failure
from nbpar.core.text import function_name, short
from nbpar.errors import RemoteTraceback
from nbpar.host.ctrl_c import may_be_ctrl_c
from nbpar.host.shell import this_shell
from nbpar.wire.faults import shown_before

LONGEST = 300
"""Maximal number of characters of a call's arguments in a note."""


def note_of(failure: Failure) -> str:
    """Return the sentence that names the item, after the stage in a pipeline."""
    where = f"{failure.where}: " if failure.where else ""
    attempts = f", attempt {failure.attempts}" if failure.attempts > 1 else ""
    verb = "was skipped" if failure.skipped else "failed"
    place = "here" if failure.worker == "here" else f"on {failure.worker or 'a worker'}"
    if failure.skipped and not failure.worker:
        return f"{where}{_named(failure)} {verb}"
    return f"{where}{_named(failure)} {verb} {place}{attempts}"


def _named(failure: Failure) -> str:
    if failure.spread is not CallStyle.CALL:
        return f"item {failure.index}, {short(failure.item)},"
    args, keywords = failure.item
    given = ", ".join([*map(short, args), *(f"{name}={short(value)}" for name, value in keywords.items())])
    return f"the call {function_name(failure.function)}({given if len(given) <= LONGEST else '...'})"


def annotate(failure: Failure) -> None:
    """Add the note to a failure's exception.

    An exception has one such note, however often it comes: of items that failed together, as those of a
    batch do, the first one's; when it is raised again, the latest.
    """
    try:
        _annotate(failure)
    except BaseException as trouble:  # any error of the exception's own code
        if may_be_ctrl_c(trouble):
            raise


def _annotate(failure: Failure) -> None:
    error, note, trace = failure.exception, note_of(failure), id(failure.exception.__traceback__)
    before, raised = getattr(error, "__nbpar_note__", ("", 0))
    if before and trace == raised:
        return
    try:
        error.__notes__ = [*_other_notes(error, before), note]  # type: ignore[attr-defined]
        error.__nbpar_note__ = note, trace  # type: ignore[attr-defined]
    except AttributeError:
        pass  # an exception that accepts no attributes
    first = _first_of(error)
    if first is not None and not notes_are_shown() and not isinstance(first, RemoteTraceback):
        cause = RemoteTraceback(f"{note}\n{failure.traceback}")
        BaseException.__setattr__(first, "__cause__", cause)  # also where the class takes no attributes


def _first_of(error: BaseException) -> BaseException | None:
    """Return the exception that a traceback shows first, the end of the chain; None for a cycle."""
    seen: set[int] = set()
    while id(error) not in seen:
        seen.add(id(error))
        earlier = shown_before(error)
        if earlier is None:
            return error
        error = earlier
    return None


def _other_notes(error: BaseException, ours: str) -> list[object]:
    """Return notes added by others; a value that is not a list counts as one note, as in tracebacks."""
    notes = getattr(error, "__notes__", None)
    if notes is None:
        return []
    return [note for note in notes if note != ours] if isinstance(notes, (list, tuple)) else [short(notes)]


def notes_are_shown() -> bool:
    """Whether the front end shows notes of an uncaught exception."""
    if not hasattr(BaseException, "add_note"):
        return False  # Python 3.10
    return this_shell() is None or tuple(sys.modules["IPython"].version_info[:2]) >= (8, 15)
