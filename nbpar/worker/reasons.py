"""Why nothing can be received from a channel, or sent: errors that say who closed it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nbpar.errors import ChannelBroken, ChannelClosed, ChannelError, EndOfChannel, RemoteError
from nbpar.wire.faults import Fault, restore


class Reasons:
    """What an end of a channel knows of its end; the end fills it in and guards it."""

    number: int
    closed: bool
    over: bool
    gone: bool
    broken: str
    fault: Fault | None
    callback: tuple[Callable[[Any], object], Any, bool] | None

    def _why_no_item(self) -> BaseException | None:
        if self.closed:
            return ChannelClosed("you closed this channel; there is nothing to receive from it")
        if self.callback is not None:
            return ChannelError("this channel has a callback, which takes its items; do not receive them too")
        if not self.over:
            return None
        return self._take_fault() or self._breakage() or self._end("nothing more comes")

    def _why_no_send(self) -> BaseException | None:
        if self.closed:
            return ChannelClosed("you closed this channel; nothing can be sent through it")
        if not self.gone:
            return None
        return self._take_fault() or self._breakage() or self._end("nobody takes what is sent")

    def _take_fault(self) -> BaseException | None:
        """Return what went wrong there, once."""
        fault, self.fault = self.fault, None
        if fault is None:
            return None
        error = RemoteError(fault.text.rstrip() or f"{fault.kind}: {fault.message}", fault.text)
        error.__cause__ = restore(fault)
        return error

    def _breakage(self) -> BaseException | None:
        if not self.broken:
            return None
        return self._named(ChannelBroken(f"the other end of the channel is gone: {self.broken}"))

    def _end(self, why: str) -> BaseException:
        return self._named(EndOfChannel(f"the other side has closed the channel; {why}"))

    def _named(self, error: ChannelError) -> ChannelError:
        error.channel = self.number  # type: ignore[attr-defined]  # whose end it is, for `is_own_end`
        return error
