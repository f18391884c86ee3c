"""Give the output of a coroutine to its item: many run in one thread, so the thread cannot tell.

A context variable does.  Subtasks, `asyncio.to_thread` and the loop's executor inherit it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

from nbpar.worker.output.recorder import NOTHING, ItemId, OutputRecorder
from nbpar.worker.output.threads import ThreadOutput


class CoroutineOutput(ThreadOutput):
    """Where the output of one item's coroutine, its subtasks and its threads goes.

    Args:
        recorder: of the item's call.
        item: the item.
    """

    item: ItemId

    def __init__(self, recorder: OutputRecorder, item: ItemId) -> None:
        super().__init__(recorder, item)
        self._kept = recorder  # the base refers to it weakly
        self.over = False
        """Whether the item has its outcome: what comes later belongs to the run only."""

    def runs(self, recorder: OutputRecorder) -> bool:  # noqa: ARG002 (the item has one)
        return not self.over


class CallRecorder(OutputRecorder):
    """The output of the items of one call, some of which run at the same time.

    Args:
        far: as of `OutputRecorder`.
        send_late: likewise.
        tell: called when there is something to `take`, in any thread.
    """

    def __init__(self, tell: Callable[[], None], *, far: bool, send_late: Callable[..., None] | None) -> None:
        super().__init__(index_of_this_coroutine, far=far, running=running_item, send_late=send_late)
        self._tell = tell

    def _send_now_and_then(self) -> None:
        self._tell()


def index_of_this_coroutine() -> int:
    """Return the index of the item whose coroutine runs; `NOTHING` outside of these."""
    output = output_of_this_coroutine.get()
    return NOTHING if output is None else output.item.index


class CurrentCoroutine:
    """The item whose coroutine runs, for a recorder that follows calls."""

    @property
    def index(self) -> int:
        """Its index; `NOTHING` outside of coroutines."""
        return index_of_this_coroutine()

    @property
    def item_id(self) -> ItemId | None:
        """The item, if any."""
        return running_item()


def running_item() -> ItemId | None:
    """Return the item whose coroutine runs, if any."""
    output = output_of_this_coroutine.get()
    return None if output is None else output.item


output_of_this_coroutine: ContextVar[CoroutineOutput | None] = ContextVar("nbpar_output", default=None)
"""Where the output of the current coroutine goes; None outside of items of async functions."""
