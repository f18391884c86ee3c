"""Say with an exception which item it belongs to.

The note follows the exception's text where notes are shown (PEP 678).  Where they are not,
in Python 3.10 and old IPythons, a cause carries the same words, which everything shows.
"""

from __future__ import annotations

import sys

from nbpar.core.outcome import Failure
from nbpar.core.short import short
from nbpar.errors import RemoteTraceback
from nbpar.worker.shell import this_shell


def note_of(failure: Failure) -> str:
    """Return the sentence that names the item, and before it the stage of a pipeline."""
    where = f"{failure.where}: " if failure.where else ""
    attempts = f", attempt {failure.attempts}" if failure.attempts > 1 else ""
    place = "here" if failure.worker == "here" else f"on {failure.worker or 'a worker'}"
    return f"{where}item {failure.index}, {short(failure.item)}, failed {place}{attempts}"


def annotate(failure: Failure) -> None:
    """Add the note to a failure's exception.

    An exception has one such note, however often it comes: of items that failed together, as those of a
    batch do, the first one's; when it is raised again, the latest.
    """
    error, note, trace = failure.exception, note_of(failure), id(failure.exception.__traceback__)
    before, raised = getattr(error, "__nbpar_note__", ("", 0))
    if before and trace == raised:
        return
    try:
        others = [other for other in getattr(error, "__notes__", None) or () if other != before]
        error.__notes__ = [*others, note]  # type: ignore[attr-defined]
        error.__nbpar_note__ = note, trace  # type: ignore[attr-defined]
    except AttributeError:
        pass  # an exception that takes no attributes
    if not notes_are_shown() and error.__cause__ is None:
        cause = RemoteTraceback(f"{note}\n{failure.traceback}")
        BaseException.__setattr__(error, "__cause__", cause)  # also where the class takes no attributes


def notes_are_shown() -> bool:
    """Whether an uncaught exception's notes will be seen by the user."""
    if not hasattr(BaseException, "add_note"):
        return False  # Python 3.10
    return this_shell() is None or tuple(sys.modules["IPython"].version_info[:2]) >= (8, 15)
