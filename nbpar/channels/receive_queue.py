"""What comes through several channels, in the order of its coming."""

from __future__ import annotations

import queue
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial
from typing import Any

from nbpar.channels.channel import Channel
from nbpar.channels.news import news_of
from nbpar.errors import ChannelClosed, EndOfChannel
from nbpar.worker.channel import NO_END_MARKER
from nbpar.worker.deadlines import deadline_in, left_until
from nbpar.worker.payload import NOTHING, unpack_value
from nbpar.worker.queues import take


class ReceiveQueue:
    """Yields `(channel, item)`; it is over when all channels are closed.

    Items stay in their channels until they are taken here, so that the senders' bounds hold.
    """

    def __init__(self, channels: Sequence[Channel], end_marker: Any) -> None:
        self._marker = end_marker
        self._open = set(channels)
        self._news: queue.SimpleQueue[Channel] = queue.SimpleQueue()
        self._turns: dict[Channel, None] = {}
        """Channels that may have more, in the order in which they give one item each."""

        for channel in channels:
            channel._end.listeners.append(partial(self._news.put, channel))  # noqa: SLF001 (of our own kind)
            self._turns[channel] = None

    def get(self, timeout: float | None = None) -> tuple[Channel, Any]:
        """Return the next pair.

        Raises:
            queue.Empty: nothing came within `timeout` seconds.
            EndOfChannel: all channels are closed.
            RemoteError: the code behind a channel failed, and there is no end marker.
        """
        deadline = deadline_in(timeout)
        while True:
            if (pair := self._next_pair()) is not None:
                return pair
            if not self._open:
                raise EndOfChannel("all channels of this queue are closed")
            left = left_until(deadline)
            self._turns[take(self._news, left)] = None

    def get_nowait(self) -> tuple[Channel, Any]:
        """`get` without waiting."""
        return self.get(0.0)

    def __iter__(self) -> Iterator[tuple[Channel, Any]]:
        while True:
            try:
                pair = self.get()
            except EndOfChannel:
                return
            yield pair

    async def __aiter__(self) -> AsyncIterator[tuple[Channel, Any]]:
        with news_of([channel._end for channel in self._open]) as came:  # noqa: SLF001 (of our own kind)
            while True:
                came.clear()
                try:
                    pair = self.get(0.0)
                except queue.Empty:
                    await came.wait()
                    continue
                except EndOfChannel:
                    return
                yield pair

    def _next_pair(self) -> tuple[Channel, Any] | None:
        while True:
            while not self._news.empty():
                self._turns[self._news.get()] = None
            if not self._turns:
                return None
            channel = next(iter(self._turns))
            del self._turns[channel]
            if channel in self._open and (item := self._take(channel)) is not NOTHING:
                self._turns[channel] = None  # it may have more already
                return channel, item

    def _take(self, channel: Channel) -> Any:
        """Return a channel's next item or its end marker; `NOTHING` when there is nothing now."""
        end = channel._end  # noqa: SLF001 (of our own kind)
        try:
            item = end.next_now() if end.has_items or self._marker is NO_END_MARKER else self._nothing(end)
        except (EndOfChannel, ChannelClosed):
            self._open.discard(channel)
            return NOTHING if self._marker is NO_END_MARKER else self._marker
        except BaseException:
            self._open.discard(channel)
            raise
        if item is NOTHING:
            return NOTHING
        end.show()
        return unpack_value(item, end.port)

    @staticmethod
    def _nothing(end: Any) -> Any:
        """Leave an error where it is, for `wait_closed`."""
        if end.over or end.closed:
            raise EndOfChannel
        return NOTHING
