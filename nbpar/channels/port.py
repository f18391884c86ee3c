"""The user's side of all channels to one worker."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from nbpar.backends.holding import hold
from nbpar.channels.channel import Channel
from nbpar.channels.client_end import ClientEnd
from nbpar.errors import GatewayBusy
from nbpar.wire.messages import Open
from nbpar.worker.dropped import drop_all
from nbpar.worker.end import ITEMS, NBYTES, End
from nbpar.worker.spin import clock

if TYPE_CHECKING:
    from nbpar.channels.hub import Hub


class ClientPort:
    """What ends of channels to one worker share (their `Port`)."""

    def __init__(self, hub: Hub, worker: str, channel_class: type[Channel] = Channel) -> None:
        self.worker = worker
        self.guard: AbstractContextManager[object] = nullcontext()
        self.dropped: deque[End] = deque()
        self.gateway: Any = None
        self._hub = hub
        self._lines = hub.dispatcher.lines
        self.outbox = self._lines.box(worker)
        self._class = channel_class
        self._ends: weakref.WeakValueDictionary[int, ClientEnd] = weakref.WeakValueDictionary()
        """Ends that are open, which the dispatcher holds, and closed ones that somebody holds."""

    # ---- opening

    def open(
        self, how: str, code: Any, *, busy: str = "wait", items: int = ITEMS, nbytes: int = NBYTES
    ) -> Channel:
        """Begin a channel; its code runs as soon as the worker is free for it."""
        if busy == "raise" and how == "main" and self.occupied:
            raise GatewayBusy(
                f"{self.worker} runs code of another channel in its main thread; close that channel first, "
                "or use `thread=True`"
            )
        with hold:  # a box that stays corked would keep back everything
            end = ClientEnd(self._hub.new_number(), self, items=items, nbytes=nbytes)
            end.how = how
            self._ends[end.number] = end
            channel = self._class(end)
            if how == "main":
                self._lines.occupy(self.worker, end.number)
            self.outbox.cork()
            self.outbox.post(Open(end.number, how, items, nbytes, code))
            self._hub.dispatcher.admit(lambda: self._lines.open(self.worker, end, occupies=how == "main"))
            return channel

    def accept(self, opened: Open) -> ClientEnd:
        """Take in a channel that the worker has made."""
        end = ClientEnd(opened.channel, self, items=opened.items, nbytes=opened.nbytes)
        self._ends[end.number] = end
        return end

    @property
    def channels(self) -> int:
        """How many channels are open."""
        return sum(not (end.closed or end.over) for end in list(self._ends.values()))

    @property
    def executing(self) -> int:
        """How many channels have code that has not ended yet."""
        return sum(end.how != "bare" and not end.over for end in list(self._ends.values()))

    @property
    def occupied(self) -> bool:
        """Whether the worker's main thread is taken."""
        return bool(self._lines.occupied(self.worker))

    # ---- for ends

    def wait(self, end: End, ready: Callable[[], bool], timeout: float | None) -> bool:
        assert isinstance(end, ClientEnd)
        self.outbox.flush()
        try:
            self._lines.listen(self.worker, ready)
            if ready():
                return True
            began = clock()
            with end.changed:
                end.waiting += 1
                try:
                    return end.changed.wait_for(ready, timeout)
                finally:
                    end.waiting -= 1
                    self._lines.slept(self.worker, clock() - began)
        except KeyboardInterrupt:
            self.stop(end)
            raise

    def stop(self, end: End) -> None:
        """Stop the code at the other end."""
        if isinstance(end, ClientEnd) and end.how == "main":
            self._hub.dispatcher.interrupt_code(self.worker, end.number)
        else:
            end.close()

    def notify(self, end: End) -> None:
        assert isinstance(end, ClientEnd)
        if end.waiting:
            with end.changed:
                end.changed.notify_all()

    def wake(self) -> None:
        self._hub.dispatcher.request(self._sweep)

    def forget(self, end: End) -> None:
        self._hub.dispatcher.request(lambda: self._lines.forget(self.worker, end.number))

    def call_back(self, end: End) -> None:
        self._hub.call_back(end)

    def channel(self, number: int) -> Channel:
        end = self._ends.get(number)
        if end is None:
            end = ClientEnd(number, self)
            end.end_early()
        made: Channel | None = end.handle() if end.handle is not None else None
        return made if made is not None else self._class(end)

    def new_channel(self) -> Channel:
        return self.open("bare", None)

    def _sweep(self) -> None:
        """Close what nobody holds any more."""
        drop_all(self.dropped)
