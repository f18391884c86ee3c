"""Warn where the user's own code stands."""

from __future__ import annotations

import sys
import warnings

from nbpar.errors import JournalWarning


def warn(message: str, category: type[Warning] = JournalWarning) -> None:
    """Warn, of a journal unless told otherwise; the warning points at the first frame that is not nbpar's."""
    level, frame = 1, sys._getframe()  # noqa: SLF001 (CPython and PyPy have it)
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).startswith("nbpar."):
        frame = frame.f_back
        level += 1
    warnings.warn(message, category, stacklevel=level)
