"""The state of one end of a channel; the same on both sides.

opened -> items over (the other side sends no more) -> gone (it takes no more either)
opened -> closed (by this side)

Each side says `Close` in full exactly once; when both have, the channel is forgotten.
`_lock` guards all of it but `room`.  It is never held while calling out.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from nbpar.errors import ChannelClosed, ChannelError
from nbpar.wire.faults import Fault
from nbpar.wire.messages import Close, Credit, Item, Items, Message
from nbpar.wire.pickling import Packed
from nbpar.worker.callbacks import PASSED, in_callback
from nbpar.worker.deadlines import deadline_in, left_until
from nbpar.worker.lots import Lots
from nbpar.worker.payload import NOTHING, SHORT, size_of
from nbpar.worker.port import Port
from nbpar.worker.reasons import Reasons
from nbpar.worker.room import Room

ITEMS = 1024
"""Items that a sender may be ahead."""

NBYTES = 8 << 20
"""Bytes that a sender may be ahead; the item that crosses this line still goes."""


class End(Reasons):
    """One end of a channel."""

    def __init__(self, number: int, port: Port, *, items: int = ITEMS, nbytes: int = NBYTES) -> None:
        self.number = number
        self.port = port
        self.buffersize = items
        self.window = nbytes
        self.items: deque[Any] = deque()
        """What may be received: short items as they are, others `Packed`.  Any thread may take."""

        self.low = -1
        """When no more items than this are left, `acknowledge` has something to say."""

        self.room = Room(port.outbox.lock, items, nbytes)
        self._lock = threading.RLock()
        self._came = self.items
        """Where items are put; not the same as `items` when a callback gets them."""

        self._lots = Lots(items, nbytes)
        self.closed = False
        """This side has closed it."""

        self.over = False
        """The other side sends no more."""

        self.gone = False
        """The other side takes no more."""

        self.runs_code = False
        """Code runs at this end; when that ends, the channel does."""

        self.callback: tuple[Callable[[Any], object], Any, bool] | None = None
        """Function, end marker, and whether there is one."""

        self.broken = ""
        self.fault: Fault | None = None
        """What went wrong at the other side, until somebody has been told."""

        self.listeners: list[Callable[[], None]] = []
        """Called, in any thread, when something has come."""

        self.handle: weakref.ref[Any] | None = None
        self._said_close = False
        self._in_flow = False
        """More had come when the owner waited the last time: it works through a stream."""

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
        """Take the next item, or `NOTHING` when there is none now; raises what `next` raises."""
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
        """Tell the other side what has been taken, if that is worth a message."""
        with self._lock:
            items, nbytes = self._lots.taken(len(self._came))
            self.low = self._lots.mark
        if items and not self.gone:
            self.port.outbox.post(Credit(self.number, items, nbytes))

    @property
    def has_news(self) -> bool:
        """Whether `next` would not wait."""
        return bool(self.items) or self.over or self.closed or self.callback is not None

    @property
    def has_items(self) -> bool:
        """Whether something is there to be taken."""
        return bool(self.items)

    def send(self, item: Any, timeout: float | None) -> None:
        """Send an item as soon as the other side is not too far behind; one that is not `Packed` is short."""
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
        """Wait until nothing more can come, and a callback has had it all; raise what went wrong there."""
        inside = in_callback()
        if not self.port.wait(self, lambda: self._is_over(called=inside), timeout):
            raise TimeoutError(f"the channel was not closed within {timeout:.3g} s")
        with self._lock:
            error = self._take_fault() or self._breakage()
        if error is not None:
            raise error

    def close(self, fault: Fault | None = None) -> None:
        """Send and take no more."""
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
        """Nobody holds this end any more; its callback goes on."""
        if self.runs_code:
            return  # the channel ends with the code, which has more to say than that
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
        """The code at this end is over, and with it the channel."""
        with self._lock:
            self.runs_code = False
            self.closed = self._said_close = True
            self._came.clear()
        self.port.outbox.post(Close(self.number, False, fault))
        self._settle()

    def set_callback(self, callback: Callable[[Any], object], marker: Any, *, marked: bool) -> None:
        """Give every item to a function, from now on."""
        with self._lock:
            if self.callback is not None:
                raise ChannelError("this channel has a callback already")
            if self.closed:
                raise ChannelClosed("you closed this channel before; it gets no callback")
            self.callback = (callback, marker, marked)
            self.items = deque()
        self.port.call_back(self)

    def next_for_callback(self) -> tuple[Any, bool]:
        """Take the next item, if there is one, and say whether there will be no more."""
        with self._lock:
            item = self._came.popleft() if self._came else NOTHING
            ended = item is NOTHING and (self.over or self.closed)
        if len(self._came) <= self.low:
            self.acknowledge()
        return item, ended

    def show(self) -> None:
        """Show what the code at the other end has printed; nothing on the worker's side."""

    # ---- from the other side

    def take(self, message: Message) -> None:
        """Take in what the other side says."""
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
        """It was closed on the other side before it arrived here."""
        self.over = self.gone = self._said_close = True

    def break_off(self, reason: str) -> None:
        """The other side is gone without a word."""
        with self._lock:
            if not self.over:
                self.broken = reason
            self.over = self.gone = self._said_close = True
        self._stop_joining()
        self._tell()
        self.port.forget(self)

    def leave(self, reason: str) -> None:
        """This process is a fork of the one whose end it is; its locks may never be opened any more."""
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

    # ---- inside

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
        """Have the next item that is sent looked at, not only joined to others."""
        with self.room.lock:
            self.port.outbox.close_batch(self.room)

    def _settle(self) -> None:
        """Forget the channel when both sides have closed it."""
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
