"""The channels of a worker: their ends here, and the code that runs at them."""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from nbpar.errors import CodeInterrupted
from nbpar.wire.faults import Fault
from nbpar.wire.messages import Close, Credit, Item, Items, Message, Open, Printed
from nbpar.wire.pickling import Packed
from nbpar.worker.callbacks import Callbacks
from nbpar.worker.channel import Channel
from nbpar.worker.code import FunctionCode, lines_known, run
from nbpar.worker.desk import Desk
from nbpar.worker.dropped import drop_all
from nbpar.worker.end import End
from nbpar.worker.inside import inside
from nbpar.worker.interrupting import Interrupted, Interrupts
from nbpar.worker.outbox import Outbox
from nbpar.worker.output import Piece, Pieces
from nbpar.worker.payload import unpack_code
from nbpar.worker.shielding import Shield

IDLE = 2.0
"""Seconds that the thread of callbacks waits for the next one."""

INTERRUPTED = "the code was interrupted"
"""What is told of code that was stopped."""

HEADER = "Traceback (most recent call last):\n"
"""How the text of every error begins, as programs for execnet expect."""

FIRST = -2
"""Index under which the output of channel 0 is recorded; those of items are not negative."""


class Channels:
    """The worker's side of all its channels (their `Port`)."""

    def __init__(
        self, desk: Desk, shield: Shield, interrupts: Interrupts, describe: Callable[[BaseException], Fault]
    ) -> None:
        self.guard: AbstractContextManager[object] = shield
        self.dropped: deque[End] = deque()
        self.printed: Callable[..., Pieces] = lambda over=False: ()  # noqa: ARG005
        """Returns what was printed since the last time; `over`: the call is, so say what was left out."""

        self._desk = desk
        self._interrupts = interrupts
        self._describe = describe
        self.outbox = Outbox(self._send, desk.flush_soon)
        self._callbacks = Callbacks(lambda ready: desk.wait(ready, IDLE), name="nbpar callbacks")
        self._class: type[Channel] = Channel
        self._ends: dict[int, End] = {}
        self._running = threading.local()
        self._main: int | None = None
        self._numbers = 0
        self._lock = threading.Lock()  # for numbers only
        self._others: list[Piece] = []
        """What items printed, found while looking for what channels did."""

        desk.take, desk.idle = self.take, self.idle
        _live.add(self)

    # ---- for the loop

    @property
    def index(self) -> int | None:
        """Under which index this thread's output is recorded; None when it belongs to no channel."""
        number = getattr(self._running, "number", self._main)
        return None if number is None else FIRST - number

    def take(self, message: Message) -> bool:
        """Take in a message for a channel; False when it is for the loop, as is code for the main thread."""
        if isinstance(message, Open):
            return self._open(message)
        if isinstance(message, (Item, Items, Credit, Close)):
            if (end := self._ends.get(message.channel)) is not None:
                end.take(message)
        else:
            return False
        return True

    def run_main(self, opened: Open) -> None:
        """Run code in the loop's own thread."""
        self._main = opened.channel
        try:
            fault = self._run(opened, armed=True)
        finally:
            self._main = None
        self._end_code(opened.channel, fault)

    def idle(self) -> None:
        """Send what has been kept back; close what nobody holds any more."""
        if self.dropped:
            drop_all(self.dropped)
        self._flush()

    def sort_out(self, lines: Pieces) -> Pieces:
        """Send what channels printed; return what items did."""
        own = [line for line in lines if line[0] <= FIRST]
        for index, stream, text in own:
            self._desk.post([Printed(FIRST - index, ((stream, text),))])
        return tuple(line for line in lines if line[0] > FIRST) if own else lines

    def take_output(self, *, over: bool = False) -> Pieces:
        """Return what items have printed since the last time."""
        others, self._others = self._others, []
        return (*others, *self.sort_out(self.printed(over=over)))

    def break_all(self, reason: str) -> None:
        """The client is gone."""
        for end in list(self._ends.values()):
            end.break_off(reason)

    # ---- for ends

    def wait(self, end: End, ready: Callable[[], bool], timeout: float | None) -> bool:  # noqa: ARG002
        arrived = self._desk.wait(ready, timeout)
        if not arrived and self._desk.lost:
            self.break_all("the client is silent")
            return True
        return arrived

    def notify(self, end: End) -> None:  # noqa: ARG002
        self._desk.notify()

    def wake(self) -> None:
        self._desk.wake()

    def forget(self, end: End) -> None:
        self._ends.pop(end.number, None)

    def call_back(self, end: End) -> None:
        self._callbacks.add(end)
        self._desk.notify()

    def channel(self, number: int) -> Channel:
        """Return the channel of this number, which came inside a message."""
        end = self._ends.get(number)
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

    # ---- inside

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
        self._flush()

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
            except BaseException as error:  # noqa: BLE001 (whatever the user's code raises)
                _end_fork(process)
                if armed:
                    self._interrupts.armed = False
                return self._fault(error, code, end)
        except Interrupted as error:  # the signal came while another exception was on its way
            return self._fault(error, code, end)
        _end_fork(process)
        return None

    def _code(self, code: Any) -> Any:
        made = unpack_code(code, self) if type(code) is Packed else code
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
        return fault._replace(text=HEADER + fault.text)  # a text that does not compile has no frames

    def _end_code(self, number: int, fault: Fault | None) -> None:
        if (end := self._ends.get(number)) is not None:
            end.end_code(fault)

    def _send(self, messages: Sequence[Message]) -> None:
        self._print()
        self._desk.post(messages)

    def _print(self) -> None:
        if lines := self.printed():
            self._others += self.sort_out(lines)

    def _flush(self) -> None:
        self._print()
        self.outbox.flush()


def _handle(end: End, make: type[Channel]) -> Channel:
    """Return the object that users hold for an end: the one there is, or a new one."""
    made: Channel | None = end.handle() if end.handle is not None else None
    return made if made is not None else make(end)


def _end_fork(process: int) -> None:
    """End this process if the code forked, and this is the child coming back."""
    if os.getpid() != process:
        os._exit(0)


_live: weakref.WeakSet[Channels] = weakref.WeakSet()


def _leave_all() -> None:
    """In a fork of this process: what it says would be taken for what this process says."""
    for channels in _live:
        for end in channels._ends.values():  # noqa: SLF001 (our own)
            end.leave("this process is a fork of the worker")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_all)
