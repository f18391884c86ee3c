"""Keep a pool's workers for as long as anything that was begun on them goes on."""

from __future__ import annotations

import os
import threading
from functools import cache
from typing import TYPE_CHECKING

from nbpar.host.error_log import call_safely
from nbpar.host.interpreter_exit import ExitOrder, interpreter

if TYPE_CHECKING:
    from nbpar.errors import NbparError
    from nbpar.pool.launch import Launcher
    from nbpar.pool.placement import PendingPlacement


class Keeper:
    """What has to be closed when a pool goes.  It knows nothing of the pool, and nor does what it keeps.

    Args:
        pending: where the workers come from.
    """

    def __init__(self, pending: PendingPlacement) -> None:
        self.pending = pending
        self.launcher: Launcher | None = None
        """Where runs on them begin; None before the first."""

        self._owner = os.getpid()
        self._closing = threading.Lock()  # concurrent calls of close() wait for the first

    def close(self, error: NbparError | None = None) -> None:
        """Let the workers go, and what was made for them; runs are told `error`.  May be called twice."""
        if os.getpid() != self._owner:
            return
        if self.launcher is not None:
            self.launcher.dispatcher.close(error=error)
        with self._closing:
            self.pending.discard()

    def finish(self) -> None:
        """Close it as soon as what was begun is over; when the interpreter ends before that, then."""
        _watch_exit()
        _finishing.add(self)
        try:
            if self.launcher is not None:
                self.launcher.dispatcher.finish()
            self.close()
        finally:
            _finishing.discard(self)


_finishing: set[Keeper] = set()
"""Those whose pools were dropped."""


@cache
def _watch_exit() -> None:
    interpreter.end_with(_close_all, ExitOrder.POOL)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_finishing.clear)


def _close_all() -> None:
    for keeper in list(_finishing):
        call_safely(keeper.close, "the workers of a pool that was dropped could not be let go")
