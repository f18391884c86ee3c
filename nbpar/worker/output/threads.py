"""Give the output of a thread to the item that has started it, also when that item is over.

`threading.Thread.start` has a stand-in, which marks the new thread.  Threads of an executor or of a
`multiprocessing.pool` work for whatever item runs, so they are marked as such; nbpar's own threads are not.
"""

from __future__ import annotations

import threading
import weakref
from typing import Any

from nbpar.worker.output.recorder import NOTHING, PER_ITEM, ItemId, OutputRecorder, size_of

_MARK = "_nbpar_output"
_POOLS = ("concurrent.futures.thread", "multiprocessing.pool")
"""Modules of functions that threads of pools run."""


class ThreadOutput:
    """Where the output of a thread goes: to an item's recorder.  It does not keep the recorder.

    Args:
        recorder: that of the worker on which the thread was started.
        item: the item that has started it; None: the one that runs when it prints.
    """

    def __init__(self, recorder: OutputRecorder, item: ItemId | None) -> None:
        self._recorder = weakref.ref(recorder)
        self.item = item
        self._late = 0
        """Size of the output after the end of the item."""

    @property
    def recorder(self) -> OutputRecorder | None:
        """The recorder, if it takes output of the thread now."""
        recorder = self._recorder()
        if recorder is None:
            return None
        if self.item is None:
            return recorder if recorder.item != NOTHING else None
        return recorder if self.runs(recorder) or recorder.takes_late(self.item) else None

    def runs(self, recorder: OutputRecorder) -> bool:
        """Whether its item is the one that runs."""
        return recorder.running() == self.item

    def put(self, recorder: OutputRecorder, kind: str, content: Any) -> None:
        """Record output of the thread."""
        if self.item is None or self.runs(recorder):
            recorder.put(kind, content, None if self.item is None else self.item.index)
        elif self._late <= PER_ITEM:
            self._late += size_of(kind, content)
            if self._late > PER_ITEM:
                what = f"a thread that outlives its item printed more than {PER_ITEM} characters"
                kind, content = "cut", f"... {what}; what is over that was left out"
            recorder.put_late(self.item, kind, content)


def mark(thread: threading.Thread, recorder: OutputRecorder | None, parent: ThreadOutput | None) -> None:
    """Mark a thread that is about to start.

    Args:
        thread: the new thread.
        recorder: of the item inside which it is started; None: outside.
        parent: of the thread that starts it, if an item has started that.
    """
    if thread.name.startswith("nbpar "):
        return
    output = parent
    if parent is None and recorder is not None and (item := recorder.running()) is not None:
        output = ThreadOutput(recorder, None if _serves_all(thread) else item)
    if output is not None:
        setattr(thread, _MARK, output)


def output_of_this_thread() -> ThreadOutput | None:
    """Return where the output of the calling thread goes, if an item has started it."""
    me = threading.get_ident()
    thread = next((thread for thread in threading.enumerate() if thread.ident == me), None)
    output: ThreadOutput | None = getattr(thread, _MARK, None)
    return output


def _serves_all(thread: threading.Thread) -> bool:
    return getattr(getattr(thread, "_target", None), "__module__", "") in _POOLS
