"""The worker's channels: its ends, and their code."""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from nbpar.endpoint.callbacks import Callbacks
from nbpar.endpoint.carried_modules import Carrying
from nbpar.endpoint.channel import Channel
from nbpar.endpoint.code import FunctionCode, lines_known, run
from nbpar.endpoint.end import End
from nbpar.endpoint.lifetime import Unclaimed, drop_all
from nbpar.endpoint.payload import unpack_code
from nbpar.errors import CodeInterrupted
from nbpar.wire.faults import Fault
from nbpar.wire.messages import Open, Printed
from nbpar.wire.pickling import Packed
from nbpar.worker.mail.mailbox import Mailbox
from nbpar.worker.nesting import inside
from nbpar.worker.output.recorder import Piece, Pieces
from nbpar.worker.signals import Interrupted, Interrupts, Shield

IDLE = 2.0
"""Seconds that the thread of callbacks waits for the next call."""

INTERRUPTED = "the code was interrupted"
"""Message of the error for interrupted code."""

HEADER = "Traceback (most recent call last):\n"
"""First line of every traceback text, as programs for execnet expect."""

FIRST = -2
"""Index under which the output of channel 0 is recorded; those of items are not negative."""


class Channels:
    """The worker's side of all its channels (their `Port`).

    Args:
        mailbox: makes the mailbox that has these channels.
        shield: defers signals during every operation of the user on a channel.
        interrupts: interrupts code in the main thread.
        describe: serializes an exception.
        printed: returns the output since the last call; `over`: the code has ended, so report omitted output.
    """

    def __init__(
        self,
        mailbox: Callable[[Channels], Mailbox],
        shield: Shield,
        interrupts: Interrupts,
        describe: Callable[[BaseException], Fault],
        printed: Callable[..., Pieces],
    ) -> None:
        self.guard: AbstractContextManager[object] = shield
        self.dropped: deque[End] = deque()
        self.mailbox = mailbox(self)
        self.outbox = self.mailbox.outbox
        self._printed = printed
        self._interrupts = interrupts
        self._describe = describe
        self._callbacks = Callbacks(lambda ready: self.mailbox.wait(ready, IDLE), name="nbpar callbacks")
        self._class: type[Channel] = Channel
        self._ends: dict[int, End] = {}
        self._unclaimed = Unclaimed()
        self._running = threading.local()
        self._main: int | None = None
        self._numbers = 0
        self._lock = threading.Lock()  # for numbers only
        self._others: deque[Piece] = deque()
        """What items printed, found while looking for what channels did."""

        _live.add(self)

    # ---- for the loop

    @property
    def index(self) -> int | None:
        """Index under which this thread's output is recorded; None outside of channels."""
        number = getattr(self._running, "number", self._main)
        return None if number is None else FIRST - number

    def take(self, message: Any) -> bool:
        """Handle a message of a channel; False if it is for the loop, as is code for the main thread."""
        if isinstance(message, Open):
            return self._open(message)
        if (end := self._ends.get(message.channel)) is not None:
            end.take(message)
        return True

    def run_main(self, opened: Open) -> None:
        """Run code in the loop's own thread."""
        self._main = opened.channel
        try:
            fault = self._run(opened, armed=True)
        finally:
            self._main = None
        self._end_code(opened.channel, fault)

    def end_struck(self, opened: Open, fault: Fault) -> None:
        """End code of the main thread after an exception hit nbpar's part of it."""
        self._main = None
        end = self._ends.get(opened.channel)
        if end is not None and end.runs_code:
            self._end_code(opened.channel, fault)

    def close_dropped(self) -> None:
        """Close unreferenced channels."""
        drop_all(self.dropped)

    def tell_printed(self) -> None:
        """Send what code of channels has printed, ahead of the queued messages."""
        if lines := self._printed():
            self._others.extend(self.sort_out(lines))

    def sort_out(self, lines: Pieces) -> Pieces:
        """Send the output of channels; return that of items."""
        own = [line for line in lines if line[0] <= FIRST]
        for index, stream, text in own:
            self.mailbox.send_ahead(Printed(FIRST - index, ((stream, text),)))
        return tuple(line for line in lines if line[0] > FIRST) if own else lines

    def take_output(self, *, over: bool = False) -> Pieces:
        """Return what items have printed since the last time."""
        others = []
        while self._others:
            others.append(self._others.popleft())
        return (*others, *self.sort_out(self._printed(over=over)))

    def break_all(self, reason: str) -> None:
        """Handle the loss of the client."""
        for end in list(self._ends.values()):
            end.break_off(reason)

    # ---- for ends

    def wait(self, end: End, ready: Callable[[], bool], timeout: float | None) -> bool:  # noqa: ARG002
        arrived = self.mailbox.wait(ready, timeout)
        if not arrived and self.mailbox.lost:
            self.break_all("the client is silent")
            return True
        return arrived

    def notify(self, end: End) -> None:  # noqa: ARG002
        self.mailbox.notify()

    def wake(self) -> None:
        self.mailbox.wake()

    def forget(self, end: End) -> None:
        self._unclaimed.keep(end)
        self._ends.pop(end.number, None)

    def call_back(self, end: End) -> None:
        self._callbacks.add(end)
        self.mailbox.notify()

    def channel(self, number: int) -> Channel:
        """Return the channel of this number, which arrived inside a message."""
        end = self._unclaimed.claim(number) or self._ends.get(number)
        if end is None:
            end = End(number, self)
            end.end_early()
        return _handle(end, self._class)

    def new_channel(self) -> Channel:
        """Make a channel without code."""
        with self._lock:
            self._numbers -= 1
            number = self._numbers
        self._ends[number] = end = End(number, self)
        self.outbox.post(Open(number, "bare", end.buffersize, end.window, None))
        return self._class(end)

    # ---- internals

    def _open(self, opened: Open) -> bool:
        end = End(opened.channel, self, items=opened.items, nbytes=opened.nbytes)
        self._ends[end.number] = end
        end.runs_code = opened.how != "bare"
        if opened.how == "thread":
            name = f"nbpar channel {opened.channel}"
            threading.Thread(target=self._run_in_thread, args=(opened,), name=name, daemon=True).start()
        return opened.how != "main"

    def _run_in_thread(self, opened: Open) -> None:
        self._running.number = opened.channel
        with inside(whole_process=False):
            fault = self._run(opened, armed=False)
        self._end_code(opened.channel, fault)
        self.mailbox.flush()

    def _run(self, opened: Open, *, armed: bool) -> Fault | None:
        end = self._ends.get(opened.channel)
        if end is None:
            return None  # the client has gone meanwhile
        code, process = None, os.getpid()
        try:
            try:
                code = self._code(opened.code)
                self._class = getattr(code, "channel_class", self._class)
                channel = _handle(end, self._class)
                if armed:
                    self._interrupts.armed = True
                run(code, channel)
                if armed:
                    self._interrupts.armed = False
            except BaseException as error:  # noqa: BLE001 (user code may raise anything)
                _end_fork(process)
                if armed:
                    self._interrupts.armed = False
                return self._fault(error, code, end)
        except Interrupted as error:  # the signal arrived during another exception
            return self._fault(error, code, end)
        _end_fork(process)
        return None

    def _code(self, code: Any) -> Any:
        made = unpack_code(code, self) if type(code) is Packed else code
        if isinstance(made, Carrying):
            made = made.code
        if isinstance(made, FunctionCode) and type(made.arguments) is Packed:
            return made._replace(arguments=unpack_code(made.arguments, self))
        return made

    def _fault(self, error: BaseException, code: Any, end: End) -> Fault | None:
        if getattr(error, "channel", None) == end.number and end.gone:
            return None  # the client closed the channel, which ended the code
        if isinstance(error, Interrupted):
            error = CodeInterrupted(INTERRUPTED).with_traceback(error.__traceback__)
        with lines_known(code):
            fault = self._describe(error)
        if fault.text.startswith(HEADER):
            return fault
        return fault._replace(text=HEADER + fault.text)  # source code that does not compile has no frames

    def _end_code(self, number: int, fault: Fault | None) -> None:
        if (end := self._ends.get(number)) is not None:
            end.end_code(fault)


def _handle(end: End, make: type[Channel]) -> Channel:
    """Return the user's object for an end: the existing one, or a new one."""
    made: Channel | None = end.handle() if end.handle is not None else None
    return made if made is not None else make(end)


def _end_fork(process: int) -> None:
    """End this process if it is a fork made by the code."""
    if os.getpid() != process:
        os._exit(0)


_live: weakref.WeakSet[Channels] = weakref.WeakSet()


def _leave_all() -> None:
    """Drop all channels in a fork of this process, whose messages would be taken for the parent's."""
    for channels in _live:
        for end in channels._ends.values():  # noqa: SLF001 (our own)
            end.leave("this process is a fork of the worker")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_all)
