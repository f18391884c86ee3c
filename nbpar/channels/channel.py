"""A channel as its user holds it: everything the other side has, and `await`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from nbpar.channels.awaited import is_awaited
from nbpar.channels.news import news_of
from nbpar.errors import ChannelClosed, EndOfChannel
from nbpar.worker.channel import Channel as AnyChannel
from nbpar.worker.payload import NOTHING, unpack_value

if TYPE_CHECKING:
    from typing_extensions import Self

    from nbpar.channels.client_end import ClientEnd


class Channel(AnyChannel):
    """Sends items to the code on a worker and receives what that sends.

    What is sent is copied.  `send` waits when the other side has not taken the last `buffersize`
    items or 8 MiB yet.  The channel closes when the code at its other end is over, when either side
    calls `close`, and when nobody holds this object any more.

    Iteration ends when the other side closes the channel, and raises what went wrong there.
    `async for` and `await channel.receive()` do the same without blocking the event loop.
    """

    _end: ClientEnd
    _gateway: Any = None

    @property
    def gateway(self) -> Any:
        """The gateway that it goes through."""
        return self._gateway or self._end.port.gateway()  # type: ignore[attr-defined]  # a ClientPort

    def through(self, gateway: Any) -> Self:
        """Remember the gateway that it goes through."""
        self._gateway = gateway
        return self

    @property
    def number(self) -> int:
        """What distinguishes it from the pool's other channels."""
        return self._end.number

    def receive(self, timeout: float | None = None) -> Any:
        if is_awaited(sys._getframe(1)):  # noqa: SLF001 (the caller's own frame)
            return self.areceive(timeout)
        if self._end.printed:
            self._end.show()
        return AnyChannel.receive(self, timeout)

    receive.__doc__ = f"{AnyChannel.receive.__doc__}\n        `await channel.receive()` works too."

    async def areceive(self, timeout: float | None = None) -> Any:
        """Return the next item without blocking the event loop; raises what `receive` raises."""
        end, clock = self._end, asyncio.get_running_loop().time
        deadline = None if timeout is None else clock() + timeout
        with news_of([end]) as came:
            while (item := end.next_now()) is NOTHING:
                came.clear()
                if not end.has_news:
                    await _within(came.wait(), None if deadline is None else deadline - clock(), timeout)
        end.show()
        return unpack_value(item, end.port)

    def interrupt(self) -> None:
        """Stop the code at the other end, as Ctrl-C does; the channel then ends with its error.

        Code in a thread of its own cannot be stopped: its channel is closed.
        """
        self._end.port.stop(self._end)  # type: ignore[attr-defined]  # a ClientPort

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
