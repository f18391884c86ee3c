"""Find the step of a coroutine that blocks the event loop, and with it all other items of its worker."""

from __future__ import annotations

import sys
import threading
import time
from types import FrameType

from nbpar.core.text import plural
from nbpar.errors import BlockedLoopWarning
from nbpar.host.frames import is_own
from nbpar.wire.messages import Running
from nbpar.worker.coroutines.item import RUN, CoroutineItem
from nbpar.worker.coroutines.runner import LASTS, CoroutineRunner
from nbpar.worker.mail.mailbox import Mailbox
from nbpar.worker.output.plain import plain_warning
from nbpar.worker.signals import ALARM_AGAIN, Interrupts

BLOCKS = 0.25
"""Seconds of a step from which its item is said to hold others up."""

HOPELESS = 0.5
"""Seconds that an item may stay in a step after its time limit before its worker is to be killed."""

_clock = time.perf_counter


class Watchdog:
    """Looks at the running step from the attendant's thread.

    Args:
        runner: runs the coroutines, in the thread that makes this.
        interrupts: strike a step whose item's time is over, where signals reach it.
        mailbox: tells the client of an item that no signal reaches.
    """

    def __init__(self, runner: CoroutineRunner, interrupts: Interrupts, mailbox: Mailbox) -> None:
        self._runner = runner
        self._interrupts = interrupts
        self._mailbox = mailbox
        self._thread = threading.get_ident()
        self._told: set[tuple[int, str, int]] = set()
        """Run, file and line of the functions that were named."""

        self._seen: tuple[CoroutineItem | None, float] | None = None
        """The item whose step ran at the last look, and since when it has at every look; many short steps
        may make a long turn."""

        self._struck = 0.0
        self._hopeless: int | None = None
        """The call that the client was told of."""

    def look(self) -> None:
        """Look once."""
        woke, now = self._runner.loop.times.woke, _clock()
        if woke is None or now - woke < LASTS:  # the loop's turn, of which a step is a part
            self._seen = None
            if self._hopeless is not None:  # it has ended after all
                self._mailbox.send(Running(self._hopeless, False))
                self._hopeless = None
            return
        item, frame = self._running()
        if self._seen is None or self._seen[0] is not item:
            self._seen = (item, now)
        lasts = now - self._seen[1]
        if item is None or frame is None:
            if lasts > BLOCKS:
                self._strike()  # the signal's handler knows the item
            return
        if lasts > BLOCKS and not is_own(frame) and not _imports(self._thread):
            self._tell(item, frame)
        limit = item.call.call.timeout
        if limit is None or lasts < LASTS or (over := now - item.begun - limit) < 0:
            return
        item.overdue = True
        self._strike()
        if over > HOPELESS and self._hopeless is None:
            self._hopeless = item.call.call.id
            self._mailbox.send(Running(self._hopeless, True))

    def _running(self) -> tuple[CoroutineItem | None, FrameType | None]:
        """Return the item whose step runs, and the frame of its function; None in a subtask of an item."""
        frame = sys._current_frames().get(self._thread)  # noqa: SLF001 (documented)
        inner = None
        while frame is not None and frame.f_code is not RUN:
            frame, inner = frame.f_back, frame
        return (None, None) if frame is None else (frame.f_locals.get("item"), inner)

    def _strike(self) -> None:
        if _clock() - self._struck > ALARM_AGAIN:
            self._struck = _clock()
            self._interrupts.stop()

    def _tell(self, item: CoroutineItem, frame: FrameType) -> None:
        others = len(self._runner.running) - 1
        file, line, code = frame.f_code.co_filename, frame.f_lineno, frame.f_code
        place = (item.call.call.run, file, code.co_firstlineno)
        recorder = item.output.recorder
        if others < 1 or place in self._told or recorder is None:
            return
        self._told.add(place)
        message = (
            f"item {item.index} holds up {plural(others, 'other item')} on its worker: `{code.co_name}` "
            f"computes, or waits without `await`, for more than {BLOCKS:g} s at a time; "
            "use `await asyncio.to_thread(...)` there, or an ordinary function"
        )
        content = plain_warning(message, BlockedLoopWarning, file, line)
        kept = content if recorder.far else {**content, "kind": BlockedLoopWarning}
        recorder.note("warning", kept, item.index)


def _imports(thread: int) -> bool:
    """Whether a thread imports a module, which happens once."""
    frame = sys._current_frames().get(thread)  # noqa: SLF001 (documented)
    while frame is not None and frame.f_code is not RUN:
        if frame.f_globals.get("__name__") == "importlib._bootstrap":
            return True
        frame = frame.f_back
    return False
