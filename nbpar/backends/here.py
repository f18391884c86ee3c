"""Ctrl-C in a thread that runs items itself: it strikes the user's code at once, ours between two steps."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import TYPE_CHECKING, Any

from nbpar.worker.interrupting import Interrupts

if TYPE_CHECKING:
    from typing_extensions import Self


class Deferred(Interrupts):
    """SIGINT of the main thread, for the length of a `with` block, which may be entered again inside itself.

    While `armed` it raises KeyboardInterrupt; otherwise it does so at the end of the block, when
    nothing is half done any more.
    """

    def __init__(self) -> None:
        super().__init__()
        self.came = False
        """Whether it came and has not raised yet."""

        self._outside: list[tuple[Any, bool]] = []
        self._struck = False

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._struck = False
            if not self._outside:
                self.came = False  # one that struck while the last block ended has raised there
            self._outside.append((signal.signal(signal.SIGINT, self._on_interrupt), self.armed))
            self.armed = False
        return self

    def __exit__(self, *exc_info: object) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        handler, self.armed = self._outside.pop()
        signal.signal(signal.SIGINT, handler)
        came, self.came = self.came, False
        if came and exc_info[0] is None:
            raise KeyboardInterrupt

    def _on_interrupt(self, number: int, frame: FrameType | None) -> None:
        if self.armed or (self._struck and not _is_ours(frame)):  # again: the user's code has swallowed it
            self._struck, self.armed = True, False
            raise KeyboardInterrupt
        if self._shielded:
            super()._on_interrupt(number, frame)
        else:
            self.came = True


def _is_ours(frame: FrameType | None) -> bool:
    return frame is None or str(frame.f_globals.get("__name__")).startswith("nbpar.")
