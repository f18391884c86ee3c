"""The state of one end of a channel; the same on both sides.

opened -> items over (the other side sends no more) -> gone (it takes no more either)
opened -> closed (by this side)

Each side sends a full `Close` exactly once; after both, the channel is deleted.
`_lock` guards all state but `room`.  It is never held while calling out.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from nbpar.endpoint.credit import CreditReturn, SendWindow
from nbpar.endpoint.outbox import Outbox
from nbpar.endpoint.payload import NOTHING, SHORT, size_of
from nbpar.errors import ChannelBroken, ChannelClosed, ChannelError, EndOfChannel, RemoteError
from nbpar.host.deadlines import deadline_in, left_until, waiting_time
from nbpar.wire.faults import Fault, restore
from nbpar.wire.messages import Close, Credit, Item, Items, Message
from nbpar.wire.pickling import Packed


class EndState:
    """The part of an end's state about its end; set and guarded by the end."""

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
        return self._take_fault() or self._breakage() or self._end("it receives nothing more")

    def _take_fault(self) -> BaseException | None:
        """Return the other side's error, once."""
        fault, self.fault = self.fault, None
        if fault is None:
            return None
        text = fault.text_with_lines
        error = RemoteError(text.rstrip() or f"{fault.kind}: {fault.message}", text)
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


class Port(Protocol):
    """The services that an end needs from its side."""

    guard: AbstractContextManager[object]
    """Context of every user operation."""

    outbox: Outbox
    """The outbox for messages to the other side."""

    dropped: deque[End]
    """Unreferenced ends; `wake` triggers their closing."""

    def wake(self) -> None:
        """Trigger the processing of `dropped`."""

    def new_channel(self) -> Any:
        """Make a channel without code."""

    def channel(self, number: int) -> Any:
        """Return the user's object for a channel received inside a message."""

    def wait(self, end: End, ready: Callable[[], bool], timeout: float | None) -> bool:
        """Wait until `ready()`, or for `timeout` seconds; whether it is ready."""

    def notify(self, end: End) -> None:
        """Wake threads that wait for this end; the caller may be the reading thread."""

    def forget(self, end: End) -> None:
        """Delete a channel that is closed on both sides."""

    def call_back(self, end: End) -> None:
        """Schedule this end's callback."""


ITEMS = 1024
"""Number of items that a sender may be ahead."""

NBYTES = 8 << 20
"""Number of bytes that a sender may be ahead; the item that exceeds it is still sent."""


class End(EndState):
    """One end of a channel."""

    def __init__(self, number: int, port: Port, *, items: int = ITEMS, nbytes: int = NBYTES) -> None:
        self.number = number
        self.port = port
        self.buffersize = items
        self.window = nbytes
        self.items: deque[Any] = deque()
        """Received items: short ones as they are, others `Packed`.  Any thread may take."""

        self.low = -1
        """With this number of items left or fewer, `acknowledge` has credit to return."""

        self.room = SendWindow(port.outbox.lock, items, nbytes)
        self._lock = threading.RLock()
        self._came = self.items
        """Where received items go; differs from `items` if a callback gets them."""

        self._lots = CreditReturn(items, nbytes)
        self.closed = False
        """Whether this side has closed it."""

        self.over = False
        """The other side has ended sending."""

        self.gone = False
        """The other side has ended receiving."""

        self.runs_code = False
        """Whether code runs at this end; when that ends, the channel does."""

        self.callback: tuple[Callable[[Any], object], Any, bool] | None = None
        """Function, end marker, and whether the marker was given."""

        self.broken = ""
        self.fault: Fault | None = None
        """Error of the other side, until it has been raised."""

        self.listeners: list[Callable[[], None]] = []
        """Called, in any thread, when something arrives."""

        self.handle: weakref.ref[Any] | None = None
        self._said_close = False
        self._in_flow = False
        """Whether more had arrived at the owner's last wait: it is processing a stream."""

    # ---- for this side

    def next(self, timeout: float | None) -> Any:
        """Wait for the next item and take it."""
        deadline = deadline_in(timeout)
        while not self.has_news or (item := self.next_now()) is NOTHING:
            if not self.port.wait(self, lambda: self.has_news, left_until(deadline)):
                raise TimeoutError(f"nothing came through the channel within {timeout:.3g} s")
        self._in_flow = bool(self.items)
        return item

    def next_now(self) -> Any:
        """Take the next item, or `NOTHING` if there is none now; raises the errors of `next`."""
        try:
            item = self.items.popleft()
        except IndexError:
            item = NOTHING
        if item is NOTHING:
            self._raise_why_nothing_comes()
        if len(self.items) <= self.low:
            self.acknowledge()
        return item

    def acknowledge(self) -> None:
        """Return credit for consumed items, if it is worth a message."""
        with self._lock:
            items, nbytes = self._lots.taken(len(self._came))
            self.low = self._lots.mark
        if items and not self.gone:
            self.port.outbox.post(Credit(self.number, items, nbytes))

    @property
    def has_news(self) -> bool:
        """Whether `next` would return without waiting."""
        return bool(self.items) or self.over or self.closed or self.callback is not None

    @property
    def has_something(self) -> bool:
        """Whether there are items, or an error, to be retrieved."""
        return bool(self._came) or self.fault is not None

    @property
    def has_items(self) -> bool:
        """Whether there are items to be received."""
        return bool(self.items)

    def send(self, item: Any, timeout: float | None) -> None:
        """Send an item when there is credit; one that is not `Packed` is short."""
        deadline = deadline_in(timeout)
        message: Message
        if type(item) is Packed:
            message, size = Item(self.number, item), size_of(item)
        else:
            message, size = Items(self.number, [item]), SHORT
        while not self._post(message, size):
            self._in_flow = False
            if not self.port.wait(self, self._may_send, left_until(deadline)):
                raise TimeoutError(f"the other side did not take what was sent before within {timeout:.3g} s")

    def await_over(self, timeout: float | None) -> None:
        """Wait until nothing more can arrive, and a callback has had everything; raise the remote error."""
        inside, timeout = in_callback(), waiting_time(timeout)
        if not self.port.wait(self, lambda: self._is_over(called=inside), timeout):
            raise TimeoutError(f"the channel was not closed within {timeout:.3g} s")
        with self._lock:
            error = self._take_fault() or self._breakage()
        if error is not None:
            raise error

    def close(self, fault: Fault | None = None) -> None:
        """End sending and receiving."""
        with self._lock:
            if self.closed:
                return
            self.closed = True
            self._came.clear()
            half, say = self.runs_code, not self._said_close
            self._said_close = self._said_close or not half
        if say:
            self.port.outbox.post(Close(self.number, half, fault))
        self._settle()

    def drop(self) -> None:
        """Handle the deletion of the user's object; a callback continues."""
        if self.runs_code:
            return  # the channel ends with the code, which may still send
        if self.callback is None:
            self.close()
            return
        with self._lock:
            half, say = not self.over, not self._said_close
            self._said_close = self._said_close or not half
        if say:
            self.port.outbox.post(Close(self.number, half, None))
        self._settle()

    def end_code(self, fault: Fault | None) -> None:
        """Handle the end of the code at this end, which ends the channel."""
        with self._lock:
            self.closed = self._said_close = True
            self._came.clear()
        self.port.outbox.post(Close(self.number, False, fault))
        self.runs_code = False  # last: as long as it is set, an exception that hit this can be made good
        self._settle()

    def set_callback(self, callback: Callable[[Any], object], marker: Any, *, marked: bool) -> None:
        """Pass every item to a function, from now on."""
        with self._lock:
            if self.callback is not None:
                raise ChannelError("this channel has a callback already")
            if self.closed:
                raise ChannelClosed("you closed this channel before; it gets no callback")
            self.callback = (callback, marker, marked)
            self.items = deque()
        self.port.call_back(self)

    def next_for_callback(self) -> tuple[Any, bool]:
        """Take the next item, if there is one, and return whether it was the last."""
        with self._lock:
            item = self._came.popleft() if self._came else NOTHING
            ended = item is NOTHING and (self.over or self.closed)
        if len(self._came) <= self.low:
            self.acknowledge()
        return item, ended

    def show(self) -> None:
        """Show output of the code at the other end; ignored on the worker's side."""

    # ---- messages from the other side

    def take(self, message: Message) -> None:
        """Handle a message from the other side."""
        if type(message) is Items:
            self._put(message.values, SHORT * len(message.values))
        elif type(message) is Item:
            self._put((message.value,), size_of(message.value))
        elif type(message) is Credit:
            with self.room.lock:
                self.room.grant(message.items, message.nbytes)
        elif type(message) is Close:
            self._take_close(message)
        self._tell()

    def end_early(self) -> None:
        """Handle a close by the other side before it arrived here."""
        self.over = self.gone = self._said_close = True

    def break_off(self, reason: str) -> None:
        """Handle the loss of the other side."""
        with self._lock:
            if not self.over:
                self.broken = reason
            self.over = self.gone = self._said_close = True
        self._stop_joining()
        self._tell()
        self.port.forget(self)

    def leave(self, reason: str) -> None:
        """Leave the end to the parent in a fork of its process; its locks may be held for ever."""
        self.broken, self.over, self.gone, self._said_close = reason, True, True, True
        self.room.batch = None

    def _put(self, items: Sequence[Any], nbytes: int) -> None:
        with self._lock:
            if not self.closed:
                self._lots.add(len(items), nbytes)
                self._came.extend(items)
                self.low = self._lots.mark

    def _take_close(self, message: Close) -> None:
        with self._lock:
            self.over = True
            self.gone = self.gone or not message.half
            self.fault = message.fault or self.fault
            reply = self.gone and not self._said_close and not self.runs_code
            self._said_close = self._said_close or reply
        if reply:
            self.port.outbox.post(Close(self.number, False, None))
        self._settle()

    # ---- internals

    def _post(self, message: Message, size: int) -> bool:
        if self.gone or self.closed:
            with self._lock:
                error = self._why_no_send()
            if error is not None:
                raise error
        return self.port.outbox.post(message, size, in_flow=self._in_flow, room=self.room)

    def _raise_why_nothing_comes(self) -> None:
        with self._lock:
            error = None if self.items else self._why_no_item()
        if error is not None:
            raise error

    def _is_over(self, *, called: bool) -> bool:
        return (self.over or self.closed) and (called or self.callback in (None, PASSED))

    def _may_send(self) -> bool:
        return self.room.left or self.gone or self.closed

    def _stop_joining(self) -> None:
        """Close the open batch, so that the next `send` takes the slow path and sees the new state."""
        with self.room.lock:
            self.port.outbox.close_batch(self.room)

    def _settle(self) -> None:
        """Delete the channel when both sides have closed it."""
        self._stop_joining()
        self.port.notify(self)
        if self._said_close and self.gone:
            self.port.forget(self)

    def _tell(self) -> None:
        self.port.notify(self)
        if self.callback is not None:
            self.port.call_back(self)
        if self.listeners:
            for listener in tuple(self.listeners):
                listener()


def _nothing(item: object) -> None:
    """Ignore calls after the end marker."""


PASSED: tuple[Callable[[object], object], object, bool] = (_nothing, None, False)
"""Sentinel for a callback that has been called for everything."""


class _Here(threading.local):
    calling = False


_here = _Here()


def begin_callbacks() -> None:
    """Mark this thread as one that calls callbacks."""
    _here.calling = True


def in_callback() -> bool:
    """Whether this thread is one that calls callbacks, which cannot wait for them."""
    return _here.calling
