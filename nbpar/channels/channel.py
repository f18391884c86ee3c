"""The user's channel object: the operations of both sides, plus `areceive`, `async for` and `interrupt`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from nbpar.endpoint.channel import Channel as AnyChannel
from nbpar.endpoint.end import End
from nbpar.endpoint.payload import NOTHING, unpack_value
from nbpar.errors import ChannelClosed, EndOfChannel
from nbpar.host.deadlines import waiting_time
from nbpar.host.frames import entrance, seen_from

if TYPE_CHECKING:
    from typing_extensions import Self

    from nbpar.channels.end import ClientEnd


@contextmanager
def news_of(ends: Sequence[End]) -> Iterator[asyncio.Event]:
    """Set an event of the running loop when an item or an end arrives at one of the ends, in this block."""
    loop = asyncio.get_running_loop()
    came = asyncio.Event()

    def listen() -> None:
        with suppress(RuntimeError):  # the loop was just closed
            loop.call_soon_threadsafe(came.set)

    for end in ends:
        end.listeners.append(listen)
    try:
        yield came
    finally:
        for end in ends:
            end.listeners.remove(listen)


class Channel(AnyChannel):
    """Sends items to code on a worker and receives items from it.  Thread-safe.

    Items are copied.  `send` waits while the receiver has not consumed the last `buffersize`
    items or 8 MiB (backpressure).  The channel closes when the code at its other end ends, when either side
    calls `close`, and when this object is deleted.

    Iteration ends when the other side closes the channel, and raises what went wrong there.
    In a coroutine `async for` and `await channel.areceive()` do the same without blocking the event loop.
    """

    _end: ClientEnd
    _gateway: Any = None

    @property
    def gateway(self) -> Any:
        """The gateway that it goes through."""
        return self._gateway or self._end.port.known_gateway

    def through(self, gateway: Any) -> Self:
        """Set its gateway."""
        self._gateway = gateway
        return self

    @property
    def number(self) -> int:
        """Its number, unique in the pool."""
        return self._end.number

    def receive(self, timeout: float | None = None) -> Any:
        __tracebackhide__ = True
        try:
            if self._end.printed:
                self._end.show()
            return AnyChannel.receive(self, timeout)
        except BaseException as error:  # noqa: BLE001 (raised again)
            raise seen_from(sys._getframe(1), error)  # noqa: B904, SLF001 (the same one; the caller's frame)

    receive.__doc__ = f"{AnyChannel.receive.__doc__}\n        Blocks the thread; coroutines use `areceive`."

    async def areceive(self, timeout: float | None = None) -> Any:
        """Return the next item without blocking the event loop; raises the errors of `receive`."""
        end, clock = self._end, asyncio.get_running_loop().time
        seconds = waiting_time(timeout)
        deadline = None if seconds is None else clock() + seconds
        with news_of([end]) as came:
            while (item := end.next_now()) is NOTHING:
                came.clear()
                if not end.has_news:
                    await _within(came.wait(), None if deadline is None else deadline - clock(), timeout)
        end.show()
        return unpack_value(item, end.port)

    @entrance
    def interrupt(self) -> None:
        """Interrupt the code at the other end like Ctrl-C; the channel then ends with its error.

        Code in a thread of its own cannot be stopped: its channel is closed.
        """
        self._end.port.stop(self._end)

    async def __aiter__(self) -> AsyncIterator[Any]:
        while True:
            try:
                item = await self.areceive()
            except (EndOfChannel, ChannelClosed):
                return
            yield item

    def __repr__(self) -> str:
        state = "closed" if self.closed else "open"
        return f"<nbpar.Channel {self.number} to {self._end.worker}: {state}>"


async def _within(waiting: Any, left: float | None, timeout: float | None) -> None:
    try:
        await asyncio.wait_for(waiting, left)
    except asyncio.TimeoutError:
        raise TimeoutError(f"nothing came through the channel within {timeout:.3g} s") from None
