"""Show errors of code that nobody has looked at, before it is too late.

A notebook holds its channels for ever, by their names and by `Out`: there an error is shown
under the cell that began the channel when nobody has looked at it for a while.  Elsewhere it
is shown when the channel is dropped, and at the end of the process.
"""

from __future__ import annotations

import atexit
import threading
import weakref
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nbpar.channels.client_end import ClientEnd

PATIENCE = 2.0
"""Seconds that an error waits in a notebook for somebody to look at it."""

_unseen: weakref.WeakSet[ClientEnd] = weakref.WeakSet()


def note(end: ClientEnd) -> None:
    """Code has ended with an error."""
    _unseen.add(end)
    _show_at_exit()
    if end.in_cell:
        timer = threading.Timer(PATIENCE, _show, [weakref.ref(end)])
        timer.daemon = True
        timer.start()


def _show(reference: weakref.ref[ClientEnd]) -> None:
    if (end := reference()) is not None:
        end.show_unseen()


@cache
def _show_at_exit() -> None:
    atexit.register(_show_all)


def _show_all() -> None:
    for end in list(_unseen):
        if not end.in_cell:  # the front end does not listen any more
            end.show_unseen()
