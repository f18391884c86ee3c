"""The state of one end of a channel; the same on both sides.

opened -> items over (the other side sends no more) -> gone (it takes no more either)
opened -> closed (by this side)

Each side says `Close` in full exactly once; when both have, the channel is forgotten.
`changed` guards all of it.  It is never held while calling out.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from nbpar.errors import ChannelClosed, ChannelError
from nbpar.wire.faults import Fault
from nbpar.wire.messages import Close, Credit, Item, Message
from nbpar.wire.pickling import Packed
from nbpar.worker.callbacks import PASSED, in_callback
from nbpar.worker.payload import size_of
from nbpar.worker.port import Port
from nbpar.worker.reasons import Reasons

ITEMS = 1024
"""Items that a sender may be ahead."""

NBYTES = 8 << 20
"""Bytes that a sender may be ahead; the item that crosses this line still goes."""

Nothing = Callable[[], None]


class End(Reasons):
    """One end of a channel."""

    def __init__(self, number: int, port: Port, *, items: int = ITEMS, nbytes: int = NBYTES) -> None:
        self.number = number
        self.port = port
        self._lock = threading.RLock()
        self.changed = threading.Condition(self._lock)
        self.buffersize = items
        self.window = nbytes
        self._items: deque[Packed] = deque()
        self._room_items, self._room_bytes = items, nbytes
        self._untold_items = self._untold_bytes = 0
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

        self.listeners: list[Nothing] = []
        """Called, in any thread, when something has come."""

        self.handle: weakref.ref[Any] | None = None
        self._said_close = False
        self._in_flow = False
        """The last item that was taken had come already: the owner works through a stream."""

    # ---- for this side

    def next(self, timeout: float | None) -> Packed:
        """Wait for the next item and take it."""
        deadline = None if timeout is None else time.monotonic() + timeout
        waited = False
        while True:
            packed, credit = self._take_next()
            if packed is not None:
                if credit is not None:
                    self.port.post(credit)
                self._in_flow = not waited
                return packed
            waited = True
            if not self.port.wait(self, self._something, _left(deadline)):
                raise TimeoutError(f"nothing came through the channel within {timeout:g} s")

    def next_now(self) -> Packed | None:
        """Take the next item, or None when there is none now; raises what `next` raises."""
        packed, credit = self._take_next()
        if credit is not None:
            self.port.post(credit)
        return packed

    @property
    def has_news(self) -> bool:
        """Whether `next` would not wait."""
        return self._something()

    @property
    def has_items(self) -> bool:
        """Whether something is there to be taken."""
        return bool(self._items)

    def send(self, packed: Packed, timeout: float | None) -> None:
        """Send an item as soon as the other side is not too far behind."""
        deadline = None if timeout is None else time.monotonic() + timeout
        size = size_of(packed)
        while not self._claim(size):
            self._in_flow = False
            if not self.port.wait(self, self._may_send, _left(deadline)):
                raise TimeoutError(f"the other side did not take what was sent before within {timeout:g} s")
        self.port.post(Item(self.number, packed), size, in_flow=self._in_flow)

    def await_over(self, timeout: float | None) -> None:
        """Wait until nothing more can come, and a callback has had it all; raise what went wrong there."""
        inside = in_callback()
        if not self.port.wait(self, lambda: self._is_over(called=inside), timeout):
            raise TimeoutError(f"the channel was not closed within {timeout:g} s")
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
            self._items.clear()
            half, say = self.runs_code, not self._said_close
            self._said_close = self._said_close or not half
            self.changed.notify_all()
        if say:
            self.port.post(Close(self.number, half, fault))
        self._settle()

    def drop(self) -> None:
        """Nobody holds this end any more; its callback goes on."""
        if self.runs_code:
            return  # the channel ends with the code, which has more to say than that
        if self.callback is None or self.over:
            self.close()
        elif not self._said_close:
            self.port.post(Close(self.number, True, None))

    def end_code(self, fault: Fault | None) -> None:
        """The code at this end is over, and with it the channel."""
        with self._lock:
            self.runs_code = False
            self.closed = self._said_close = True
            self._items.clear()
            self.changed.notify_all()
        self.port.post(Close(self.number, False, fault))
        self._settle()

    def set_callback(self, callback: Callable[[Any], object], marker: Any, *, marked: bool) -> None:
        """Give every item to a function, from now on."""
        with self._lock:
            if self.callback is not None:
                raise ChannelError("this channel has a callback already")
            if self.closed:
                raise ChannelClosed("you closed this channel before; it gets no callback")
            self.callback = (callback, marker, marked)
        self.port.call_back(self)

    def next_for_callback(self) -> tuple[Packed | None, bool]:
        """Take the next item, if there is one, and say whether there will be no more."""
        with self._lock:
            packed = self._items.popleft() if self._items else None
            credit = self._credit(packed) if packed is not None else None
            ended = packed is None and (self.over or self.closed)
        if credit is not None:
            self.port.post(credit)
        return packed, ended

    def show(self) -> None:
        """Show what the code at the other end has printed; nothing on the worker's side."""

    # ---- from the other side

    def take(self, message: Message) -> None:
        """Take in what the other side says."""
        if type(message) is Item:
            with self._lock:
                if self.closed:
                    return
                self._items.append(message.value)
                self.changed.notify()
        elif type(message) is Credit:
            with self._lock:
                self._room_items += message.items
                self._room_bytes += message.nbytes
                self.changed.notify_all()
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
            self.changed.notify_all()
        self._tell()
        self.port.forget(self)

    def _take_close(self, message: Close) -> None:
        with self._lock:
            self.over = True
            self.gone = self.gone or not message.half
            self.fault = message.fault or self.fault
            reply = self.gone and not self._said_close and not self.runs_code
            self._said_close = self._said_close or reply
            self.changed.notify_all()
        if reply:
            self.port.post(Close(self.number, False, None))
        self._settle()

    # ---- inside

    def _take_next(self) -> tuple[Packed | None, Credit | None]:
        with self._lock:
            if self._items and not self.closed and self.callback is None:
                packed = self._items.popleft()
                return packed, self._credit(packed)
            error = self._why_no_item()
        if error is not None:
            raise error
        return None, None

    def _credit(self, packed: Packed) -> Credit | None:
        """Count an item as taken; what to tell the other side when that is worth a message."""
        self._untold_items += 1
        self._untold_bytes += size_of(packed)
        if 2 * self._untold_items < self.buffersize and 2 * self._untold_bytes < self.window:
            return None
        credit = Credit(self.number, self._untold_items, self._untold_bytes)
        self._untold_items = self._untold_bytes = 0
        return None if self.gone else credit

    def _claim(self, size: int) -> bool:
        with self._lock:
            error = self._why_no_send()
            if error is None and self._room_items > 0 and self._room_bytes > 0:
                self._room_items -= 1
                self._room_bytes -= size
                return True
        if error is not None:
            raise error
        return False

    def _is_over(self, *, called: bool) -> bool:
        return (self.over or self.closed) and (called or self.callback in (None, PASSED))

    def _something(self) -> bool:
        return bool(self._items) or self.over or self.closed or self.callback is not None

    def _may_send(self) -> bool:
        return (self._room_items > 0 and self._room_bytes > 0) or self.gone or self.closed

    def _settle(self) -> None:
        """Forget the channel when both sides have closed it."""
        self.port.notify()
        if self._said_close and self.gone:
            self.port.forget(self)

    def _tell(self) -> None:
        if self.callback is not None:
            self.port.call_back(self)
        for listener in tuple(self.listeners):
            listener()


def drop_all(dropped: deque[End]) -> None:
    """Close ends that nobody holds any more; several threads may do it at the same time."""
    while dropped:
        with suppress(IndexError):
            end = dropped.popleft()
            if end.handle is None or end.handle() is None:
                end.drop()


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())
