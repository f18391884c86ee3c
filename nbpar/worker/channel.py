"""A channel as users hold it: here, and in code that runs on a worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from nbpar.errors import ChannelClosed, EndOfChannel, PicklingError
from nbpar.wire.faults import Fault, describe
from nbpar.wire.pickling import Packed
from nbpar.worker.channel_file import ChannelReader, ChannelWriter
from nbpar.worker.end import End
from nbpar.worker.handles import handle_of
from nbpar.worker.payload import (
    NOTHING,
    NUMBERS,
    SHORT,
    TEXTS,
    arrive,
    current_port,
    pack_value,
    unpack_value,
)

if TYPE_CHECKING:
    from typing_extensions import Self

NO_END_MARKER: Any = object()
"""Stands for "call nothing at the end"."""


class Channel:
    """Sends items to the code at the other end and receives what that sends.

    What is sent is copied.  `send` waits when the other side has not taken the last `buffersize`
    items or 8 MiB yet.  The channel closes when the code at its other end is over, when either side
    calls `close`, and when nobody holds this object any more.

    Iteration ends when the other side closes the channel, and raises what went wrong there.
    """

    def __init__(self, end: End) -> None:
        self._end = end
        end.handle = handle_of(self, end)

    # ---- items

    def send(self, item: Any, timeout: float | None = None) -> None:
        """Send an item; waits while the other side is too far behind.

        Raises:
            TimeoutError: the other side did not take enough within `timeout` seconds.
            ChannelClosed: you closed the channel before.
            ChannelBroken: the worker at the other end died.
            EndOfChannel: the other side has closed the channel.
            RemoteError: the code there failed (raised once).
            PicklingError: the item cannot travel.
        """
        end = self._end
        kind = type(item)
        if kind in NUMBERS or (kind in TEXTS and len(item) <= SHORT):
            room = end.room
            with room.lock:
                if (batch := room.batch) is not None and len(batch) < room.limit:
                    batch.append(item)
                    return
        else:
            item = pack_value(item, end.port)
        with end.port.guard:
            end.send(item, timeout)

    def receive(self, timeout: float | None = None) -> Any:
        """Return the next item; what came before the other side closed still comes.

        Raises:
            TimeoutError: nothing came within `timeout` seconds.
            RemoteError: the code there failed; its cause is what it raised.  Raised once, then
                `EndOfChannel`.
            EndOfChannel: the other side has closed the channel.
            ChannelBroken: the worker at the other end died.
            ChannelClosed: you closed the channel before.
        """
        end = self._end
        try:
            item = end.items.popleft()
        except IndexError:
            item = NOTHING
        if item is NOTHING:
            with end.port.guard:
                item = end.next(timeout)
        elif len(end.items) <= end.low:
            with end.port.guard:
                end.acknowledge()
        return unpack_value(item, end.port) if type(item) is Packed else item

    def __iter__(self) -> Iterator[Any]:
        while True:
            try:
                item = self.receive()
            except (EndOfChannel, ChannelClosed):
                return
            yield item

    def set_callback(self, callback: Callable[[Any], object], end_marker: Any = NO_END_MARKER) -> None:
        """Have `callback(item)` called, in a thread of its own, for what is here and all that comes.

        At the end, however it comes about, `callback(end_marker)` is called if a marker is given.
        A callback that raises closes the channel with that error.
        """
        if not callable(callback):
            raise TypeError(f"a callback must be callable, was {callback!r:.60}")
        with self._end.port.guard:
            self._end.set_callback(callback, end_marker, marked=end_marker is not NO_END_MARKER)

    def make_file(self, mode: str = "w") -> ChannelWriter | ChannelReader:
        """Return a text file that writes to the channel ("w") or reads strings from it ("r")."""
        if mode == "w":
            return ChannelWriter(self)
        if mode == "r":
            return ChannelReader(self)
        raise ValueError(f'mode must be "w" or "r", was {mode!r}')

    def new_channel(self) -> Channel:
        """Make another channel to the same place; send it to the other side through this one."""
        with self._end.port.guard:
            made: Channel = self._end.port.new_channel()
        return made

    # ---- the end

    @property
    def closed(self) -> bool:
        """Whether either side has closed it; items that came before can still be received."""
        return self._end.closed or self._end.over

    @property
    def buffersize(self) -> int:
        """Items that a sender may be ahead."""
        return self._end.buffersize

    def close(self, error: str | BaseException | None = None) -> None:
        """Close the channel; with `error` the other side gets it as a `RemoteError`.

        May be called twice.  Inside code that runs at this end it says that nothing more comes.
        """
        with self._end.port.guard:
            self._end.close(_fault_of(error))

    def wait_closed(self, timeout: float | None = None) -> None:
        """Wait until the other side has closed the channel; items that came can still be received.

        With a callback it waits until that has been called with all of them, and with its end marker.

        Raises:
            TimeoutError: it was not closed within `timeout` seconds.
            RemoteError: the code there failed (raised once).
            ChannelBroken: the worker at the other end died.
        """
        with self._end.port.guard:
            self._end.await_over(timeout)

    def __reduce__(self) -> tuple[Any, ...]:
        if current_port() is not self._end.port:
            raise PicklingError(
                "a channel can be sent only through a channel of the same gateway; "
                "make it there with `new_channel()`"
            )
        return arrive, (self._end.number,)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self.closed else "open"
        return f"<nbpar.Channel {self._end.number}: {state}>"


def _fault_of(error: str | BaseException | None) -> Fault | None:
    if error is None:
        return None
    if isinstance(error, BaseException):
        return describe(error)
    text = str(error)
    return Fault(None, "RemoteError", text, (), text, "it was given as text")
