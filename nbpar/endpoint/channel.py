"""The channel object of both sides: send, receive, iterate, close."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from nbpar.endpoint.channel_file import ChannelReader, ChannelWriter
from nbpar.endpoint.end import End
from nbpar.endpoint.lifetime import handle_of
from nbpar.endpoint.payload import (
    NOTHING,
    NUMBERS,
    SHORT,
    TEXTS,
    arrive,
    current_port,
    pack_value,
    unpack_value,
)
from nbpar.errors import ChannelClosed, EndOfChannel, PicklingError
from nbpar.host.frames import entrance, seen_from
from nbpar.wire.faults import Fault, describe
from nbpar.wire.pickling import Packed

if TYPE_CHECKING:
    from typing_extensions import Self

NO_END_MARKER: Any = object()
"""Sentinel for "no end marker"."""


class Channel:
    """Sends items to the code at the other end and receives items from it.  Thread-safe.

    Items are copied.  `send` waits while the receiver has not consumed the last `buffersize`
    items or 8 MiB (backpressure).  The channel closes when the code at its other end ends, when either side
    calls `close`, and when this object is deleted.

    Iteration ends when the other side closes the channel, and raises the error of its code.
    """

    def __init__(self, end: End) -> None:
        self._end = end
        end.handle = handle_of(self, end)

    # ---- items

    def send(self, item: Any, timeout: float | None = None) -> None:
        """Send an item; waits while the receiver is too far behind (flow control).

        Raises:
            TimeoutError: the receiver did not consume enough within `timeout` seconds.
            ChannelClosed: you closed the channel before.
            ChannelBroken: the worker at the other end died.
            EndOfChannel: the other side has closed the channel.
            RemoteError: the remote code failed (raised once).
            PicklingError: the item cannot be serialized.
        """
        end = self._end
        kind = type(item)
        try:
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
        except BaseException as error:  # noqa: BLE001 (raised again)
            __tracebackhide__ = True
            raise seen_from(sys._getframe(1), error)  # noqa: B904, SLF001 (the same one)

    def receive(self, timeout: float | None = None) -> Any:
        """Return the next item; items sent before the other side closed can still be received.

        Raises:
            TimeoutError: nothing arrived within `timeout` seconds.
            RemoteError: the remote code failed; its cause is the original exception.  Raised once, then
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

    @entrance
    def set_callback(self, callback: Callable[[Any], object], end_marker: Any = NO_END_MARKER) -> None:
        """Call `callback(item)`, in a thread of its own, for all present and future items.

        At the end of the channel, for any reason, `callback(end_marker)` is called if a marker is given.
        A callback that raises closes the channel with that error.
        """
        if not callable(callback):
            raise TypeError(f"a callback must be callable, was {callback!r:.60}")
        with self._end.port.guard:
            self._end.set_callback(callback, end_marker, marked=end_marker is not NO_END_MARKER)

    @entrance
    def make_file(self, mode: str = "w") -> ChannelWriter | ChannelReader:
        """Return a text file that writes to the channel ("w") or reads strings from it ("r")."""
        if mode == "w":
            return ChannelWriter(self)
        if mode == "r":
            return ChannelReader(self)
        raise ValueError(f'mode must be "w" or "r", was {mode!r}')

    @entrance
    def new_channel(self) -> Channel:
        """Make another channel to the same place; send it to the other side through this one."""
        with self._end.port.guard:
            made: Channel = self._end.port.new_channel()
        return made

    # ---- the end

    @property
    def closed(self) -> bool:
        """Whether either side has closed it; earlier items can still be received."""
        return self._end.closed or self._end.over

    @property
    def buffersize(self) -> int:
        """Number of items that a sender may be ahead."""
        return self._end.buffersize

    @entrance
    def close(self, error: str | BaseException | None = None) -> None:
        """Close the channel; the other side gets `error`, if given, as a `RemoteError`.

        Idempotent.  Inside the channel's own code it announces the end of items.
        """
        with self._end.port.guard:
            self._end.close(_fault_of(error))

    @entrance
    def wait_closed(self, timeout: float | None = None) -> None:
        """Wait until the other side has closed the channel; remaining items can still be received.

        With a callback it waits until that has been called with all items and the end marker.

        Raises:
            TimeoutError: it was not closed within `timeout` seconds.
            RemoteError: the remote code failed (raised once).
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
