"""Many channels as one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from nbpar.channels.channel import Channel
from nbpar.channels.receive_queue import ReceiveQueue
from nbpar.worker.channel import NO_END_MARKER
from nbpar.worker.deadlines import deadline_in, left_until

if TYPE_CHECKING:
    from typing_extensions import Self

    from nbpar.channels.gateway import Gateway


class MultiChannel:
    """Channels to several workers, in the order of their gateways."""

    def __init__(self, channels: Sequence[Channel]) -> None:
        self._channels = tuple(channels)
        self._queue: ReceiveQueue | None = None

    def send_each(self, item: Any, timeout: float | None = None) -> None:
        """Send the same item through every channel."""
        for channel in self._channels:
            channel.send(item, timeout)

    def receive_each(self, *, with_channel: bool = False, timeout: float | None = None) -> list[Any]:
        """Receive one item from every channel, in their order; with the channel, if that is wanted."""
        deadline = deadline_in(timeout)
        items = []
        for channel in self._channels:
            left = left_until(deadline)
            item = channel.receive(left)
            items.append((channel, item) if with_channel else item)
        return items

    def receive_queue(self, end_marker: Any = NO_END_MARKER) -> ReceiveQueue:
        """Return a queue of `(channel, item)` from all channels, in the order of their coming.

        It takes items only when asked, so senders wait when nobody gets them.  With `end_marker`,
        `(channel, end_marker)` comes once for each channel, after its last item, however it ended;
        errors of the code there are then raised by `wait_closed`.  There is one queue.
        """
        if self._queue is None:
            self._queue = ReceiveQueue(self._channels, end_marker)
        return self._queue

    def wait_closed(self, timeout: float | None = None) -> None:
        """Wait until all channels are closed; then raise the first error, whatever it is."""
        deadline = deadline_in(timeout)
        first: BaseException | None = None
        for channel in self._channels:
            try:
                channel.wait_closed(left_until(deadline))
            except Exception as error:  # noqa: BLE001 (the others are waited for all the same)
                first = first or error
        if first is not None:
            raise first

    def close(self) -> None:
        """Close all."""
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
