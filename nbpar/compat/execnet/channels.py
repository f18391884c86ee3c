"""Channels with execnet's names: one, and many as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nbpar.channels.channel import Channel as OurChannel
from nbpar.channels.multichannel import MultiChannel as OurMultiChannel
from nbpar.channels.receive_queue import ReceiveQueue
from nbpar.worker.channel import NO_END_MARKER
from nbpar.worker.execnet_names import ExecnetNames


class Channel(ExecnetNames, OurChannel):
    """This side of a channel."""

    def receive(self, timeout: float | None = None) -> Any:
        """Return the next item; EOFError when there is none any more."""
        return ExecnetNames.receive(self, timeout)


class Queue(ReceiveQueue):
    """A queue as execnet's `make_receive_queue` returns it."""

    def get(self, block: bool | float | None = True, timeout: float | None = None) -> Any:  # type: ignore[override]  # as queue.Queue has it
        """Return `(channel, item)`; `queue.Empty` when that takes too long."""
        return super().get(timeout if block else 0.0)


class MultiChannel(OurMultiChannel):
    """Several channels."""

    def receive_each(self, withchannel: bool = False) -> list[Any]:  # type: ignore[override]  # execnet's form
        """Receive one item from each."""
        return super().receive_each(with_channel=withchannel)

    def make_receive_queue(self, endmarker: Any = NO_END_MARKER) -> Queue:
        """Return the queue of `(channel, item)`; the same one each time."""
        if self._queue is None:
            self._queue = Queue(self._channels, endmarker)
        assert isinstance(self._queue, Queue)
        return self._queue

    def waitclose(self) -> None:
        """Wait for all; then raise the first error."""
        self.wait_closed()

    @classmethod
    def of(cls, channels: Sequence[Any]) -> MultiChannel:
        """Join channels."""
        return cls(channels)
