"""Defer SIGINT while messages are in hand, so that none is lost or truncated."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType
from typing import Any

_set_handler: Any = sys.modules.get("_signal", signal).signal
"""Without the conversion of numbers to names, which takes ten times as long as the rest."""

_MAIN = threading.main_thread().ident


class Hold:
    """A block that Ctrl-C does not break: it takes effect at the end.

    Only the main thread receives signals; in others it does nothing.  Blocks may be nested.
    """

    def __init__(self) -> None:
        self._depth = 0
        self._before: Any = None
        self._missed = False

    def __enter__(self) -> None:
        if threading.get_ident() == _MAIN:
            if not self._depth:
                self._before = _set_handler(signal.SIGINT, self._note)
                if not callable(self._before):  # a handler not written in Python does not raise
                    _set_handler(signal.SIGINT, self._before or signal.SIG_DFL)
            self._depth += 1

    def __exit__(self, *exc_info: object) -> None:
        if threading.get_ident() == _MAIN:
            self._depth -= 1
            if not self._depth and callable(self._before):
                _set_handler(signal.SIGINT, self._before)
                if self._missed:
                    self._missed = False
                    self._before(signal.SIGINT, None)

    def _note(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self._missed = True


hold = Hold()
"""The only one of the process, since there is one handler of SIGINT."""
