"""Several channels as one, and one queue of the items that arrive through them."""

from __future__ import annotations

import queue
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from nbpar.channels.channel import Channel, news_of
from nbpar.core.text import short
from nbpar.endpoint.channel import NO_END_MARKER
from nbpar.endpoint.payload import NOTHING, unpack_value
from nbpar.errors import ChannelClosed, EndOfChannel
from nbpar.host.deadlines import deadline_in, left_until
from nbpar.host.frames import entrance
from nbpar.host.queues import take

if TYPE_CHECKING:
    from typing_extensions import Self

    from nbpar.channels.gateway import Gateway


class ReceiveQueue:
    """Yields `(channel, item)`; it is over when all channels are closed.

    Items stay in their channels until they are taken from the queue, so flow control still applies.
    """

    def __init__(self, channels: Sequence[Channel], end_marker: Any) -> None:
        self._marker = end_marker
        self._open = set(channels)
        self._news: queue.SimpleQueue[Channel] = queue.SimpleQueue()
        self._turns: dict[Channel, None] = {}
        """Channels that may have more items, in round-robin order."""

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
        """Like `get`, without waiting."""
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
                self._turns[channel] = None  # it may have more items already
                return channel, item

    def _take(self, channel: Channel) -> Any:
        """Return a channel's next item or its end marker; `NOTHING` if there is neither now."""
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
        """Leave an error for `wait_closed`."""
        if end.over or end.closed:
            raise EndOfChannel
        return NOTHING


class MultiChannel:
    """Channels to several workers, in the order of their gateways."""

    def __init__(self, channels: Sequence[Channel]) -> None:
        if not isinstance(channels, Iterable):
            raise TypeError(f"channels must be a list of channels, was {short(channels)}")
        self._channels = tuple(channels)
        for channel in self._channels:
            if not hasattr(channel, "receive"):
                raise TypeError(f"channels must be channels, had {short(channel)}")
        self._queue: ReceiveQueue | None = None

    @entrance
    def send_each(self, item: Any, timeout: float | None = None) -> None:
        """Send the same item through every channel."""
        for channel in self._channels:
            channel.send(item, timeout)

    @entrance
    def receive_each(self, *, with_channel: bool = False, timeout: float | None = None) -> list[Any]:
        """Receive one item from every channel, in their order; optionally with the channel."""
        deadline = deadline_in(timeout)
        items = []
        for channel in self._channels:
            left = left_until(deadline)
            item = channel.receive(left)
            items.append((channel, item) if with_channel else item)
        return items

    @entrance
    def receive_queue(self, end_marker: Any = NO_END_MARKER) -> ReceiveQueue:
        """Return a queue of `(channel, item)` from all channels, in order of arrival.

        It takes items only on `get`, so flow control still applies to senders.  With `end_marker`,
        `(channel, end_marker)` arrives once for each channel, after its last item, also after an error;
        errors of the code are then raised by `wait_closed`.  There is only one queue.
        """
        if self._queue is None:
            self._queue = ReceiveQueue(self._channels, end_marker)
        return self._queue

    @entrance
    def wait_closed(self, timeout: float | None = None) -> None:
        """Wait until all channels are closed; then raise the first error, of any kind."""
        deadline = deadline_in(timeout)
        first: BaseException | None = None
        for channel in self._channels:
            try:
                channel.wait_closed(left_until(deadline))
            except Exception as error:  # noqa: BLE001 (the others must be waited for as well)
                first = first or error
        if first is not None:
            raise first

    @entrance
    def close(self) -> None:
        """Close all channels."""
        for channel in self._channels:
            channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._channels)

    def __iter__(self) -> Iterator[Channel]:
        return iter(self._channels)

    def __getitem__(self, place: int) -> Channel:
        return self._channels[place]

    def __contains__(self, channel: object) -> bool:
        return channel in self._channels

    async def __aiter__(self) -> AsyncIterator[Any]:
        async for pair in self.receive_queue():
            yield pair

    def __repr__(self) -> str:
        still_open = sum(not channel.closed for channel in self._channels)
        return f"<nbpar.MultiChannel of {len(self)}: {still_open} open>"


def exec_on_all(gateways: Sequence[Gateway], source: Any, options: dict[str, Any]) -> MultiChannel:
    """Run the same code through all gateways."""
    return MultiChannel([gateway.remote_exec(source, **options) for gateway in gateways])
