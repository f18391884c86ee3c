"""Channels with execnet's names: one, and many as one."""

from __future__ import annotations

import queue
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from nbpar.channels.channel import Channel as OurChannel
from nbpar.channels.end import Origin
from nbpar.compat.execnet.elsewhere import Admitting
from nbpar.endpoint.channel import NO_END_MARKER
from nbpar.endpoint.execnet import ExecnetNames, TracedNames

if TYPE_CHECKING:
    from nbpar.channels.end import ClientEnd


class ErrorsOnly(Origin):
    """Shows only text for stderr; execnet's workers discard prints, and pytest-xdist relies on that."""

    def write(self, stream: str, text: str) -> None:
        """Write the text for stderr."""
        if stream == "stderr":
            super().write(stream, text)


class Channel(ExecnetNames, OurChannel, metaclass=Admitting):
    """This side of a channel; channels of execnet's own gateways count as instances too."""

    def __init__(self, end: ClientEnd) -> None:
        super().__init__(end)
        end._origin = ErrorsOnly()  # noqa: SLF001 (of our own kind)

    def receive(self, timeout: float | None = None) -> Any:
        """Return the next item; EOFError if there are no more."""
        return ExecnetNames.receive(self, timeout)


class TracedChannel(TracedNames, Channel):
    """This side of a channel, with execnet's trace."""


class MultiChannel:
    """Several channels, of engines and of execnet's own gateways."""

    def __init__(self, channels: Sequence[Any]) -> None:
        self._channels = channels
        self._queue: queue.Queue[tuple[Any, Any]] | None = None

    def send_each(self, item: Any) -> None:
        """Send the same item through every channel."""
        for channel in self._channels:
            channel.send(item)

    def receive_each(self, withchannel: bool = False) -> list[Any]:
        """Receive one item from each, in the order of the channels."""
        items = [(channel, channel.receive()) for channel in self._channels]
        return items if withchannel else [item for _, item in items]

    def make_receive_queue(self, endmarker: Any = NO_END_MARKER) -> queue.Queue[tuple[Any, Any]]:
        """Return the queue of `(channel, item)`; the same one each time."""
        if self._queue is None:
            self._queue = queue.Queue()
            marked = {} if endmarker is NO_END_MARKER else {"endmarker": endmarker}
            for channel in self._channels:
                channel.setcallback(partial(self._put, channel), **marked)
        return self._queue

    def waitclose(self) -> None:
        """Wait for all; then raise the first error."""
        first = None
        for channel in self._channels:
            try:
                channel.waitclose()
            except (channel.RemoteError, EOFError) as error:
                first = first or error
        if first is not None:
            raise first

    def __len__(self) -> int:
        return len(self._channels)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._channels)

    def __getitem__(self, key: int) -> Any:
        return self._channels[key]

    def __contains__(self, channel: object) -> bool:
        return channel in self._channels

    def _put(self, channel: Any, item: Any) -> None:
        assert self._queue is not None
        self._queue.put((channel, item))
