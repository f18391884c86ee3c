"""What an end of a channel needs of its side: the worker's, or the user's."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

from nbpar.worker.outbox import Outbox

if TYPE_CHECKING:
    from nbpar.worker.end import End


class Port(Protocol):
    """What an end needs of its side."""

    guard: AbstractContextManager[object]
    """Around every operation of a user."""

    outbox: Outbox
    """Where messages to the other side are put."""

    dropped: deque[End]
    """Ends that nobody holds any more; `wake` has them looked at."""

    def wake(self) -> None:
        """Have `dropped` looked at soon."""

    def new_channel(self) -> Any:
        """Make a channel without code."""

    def channel(self, number: int) -> Any:
        """Return what users hold for a channel that came inside a message."""

    def wait(self, end: End, ready: Callable[[], bool], timeout: float | None) -> bool:
        """Wait until `ready()`, or for `timeout` seconds; whether it is ready."""

    def notify(self, end: End) -> None:
        """Have those who wait for this end look again; the caller may be who reads for them."""

    def forget(self, end: End) -> None:
        """The channel is over on both sides."""

    def call_back(self, end: End) -> None:
        """There is something for this end's callback."""
