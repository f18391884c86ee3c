"""The worker's mailbox: one transport to the client for all threads of a worker.

One waiting thread reads for all (leader/followers).  What it reads goes at once to the channel that it
is for, or into the queues of the loop.  All messages, of calls and of channels, leave in order through one
outbox.  While user code keeps the loop's own thread busy, `attendant.py` reads and sends.

`_lock` guards the loop's queues and the place of the reader.  It is never held while reading, sending or
calling out.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import Any

from nbpar.endpoint.outbox import Outbox
from nbpar.wire.common_buffers import with_kept
from nbpar.wire.messages import (
    Begin,
    Call,
    Cancel,
    Close,
    Credit,
    Cut,
    Drop,
    FoundBuffers,
    FoundModule,
    Item,
    Items,
    Keep,
    Load,
    Message,
    Missing,
    Open,
    Ping,
    Pong,
    Release,
    Stop,
)
from nbpar.worker.mail.ports import ChannelEnds, Transport
from nbpar.worker.signals import Shield

LOOK = 0.001
"""Seconds of work after which a loop checks for new messages and sends its answers."""

FUNCTIONS = 32
"""Number of functions that a worker keeps."""

GIVEN_UP = 1024
"""Number of canceled calls that are remembered."""

GREET_AGAIN = 0.05
"""Seconds until the first greeting is repeated; twice as long until the next, and so on."""

GREETED_BY = 3.0
"""Seconds after which greetings are not repeated any more, where each arrives."""

UNANSWERED = "the client did not answer"
"""Reason of a loop that ends because it does not know whether its client is still there."""

SLICE = 0.05
"""Seconds until a thread that waits for another reader notices a signal."""

GATHER = 0.001
"""Maximal seconds of delay for coalescing frequent messages."""

OF_CHANNELS = frozenset({Item, Items, Credit, Close, Open})
"""Messages that channels may take."""

_clock = time.monotonic


class Mailbox:
    """Sends messages for all threads, and distributes received ones to the loop and to channels.

    Methods may be called from any thread, unless they are marked as the loop's.

    Args:
        transport: leads to the client.
        shield: what defers signals in the loop's own thread.
        channels: the receivers of the channels' messages.
        silence: seconds without a message after which the client counts as gone.
        not_begun: returns the answer to a call that is given back.
    """

    def __init__(
        self,
        transport: Transport,
        shield: Shield,
        channels: ChannelEnds,
        *,
        silence: float,
        not_begun: Callable[[Call], Message],
    ) -> None:
        self.outbox = Outbox(self._send_queued, self._flush_soon)
        self.put = self.outbox.put
        """Queues messages to be sent soon, together with others."""

        self.reason = ""
        """The reason why the loop must end; empty while it continues."""

        self.cut: int | None = None
        """The call that is to end with the item at hand, if it is the one that the loop is busy with."""

        self.taken: Call | Open | None = None
        """The current message of the loop, which sets this to None when it is done."""

        self.take_module: Callable[[FoundModule], None] = lambda _: None
        """Handles an answer about a module."""

        self.take_buffers: Callable[[FoundBuffers], None] = lambda _: None
        """Handles buffers that were asked for."""

        self.notified: Callable[[], None] | None = None
        """Called after messages were read, by the thread that has read them."""

        self.stopped: OrderedDict[int, None] = OrderedDict()
        """The latest calls of async functions whose items are to be canceled, also if they come later."""

        self._to_stop: deque[int] = deque()
        """Those that `take_stopped` has not returned."""

        self._transport = transport
        self._shield = shield
        self._channels = channels
        self._silence = silence
        self._not_begun = not_begun
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._waiting = self._reader = 0
        """Number of threads that wait while another one reads; the one that reads, or 0."""

        self._calls: deque[Call] = deque()
        self._opened: deque[Open] = deque()
        self._loads: OrderedDict[bytes, Load] = OrderedDict()
        self._begun: OrderedDict[int, Begin] = OrderedDict()
        self._kept: dict[int, Any] = {}
        self._given_up: deque[int] = deque(maxlen=GIVEN_UP)
        """Calls canceled by the client, even if they had been taken already."""

        self._heard = self._looked = _clock()
        self._greeted = self._closed = self._torn = self._client_lost = False
        self._flusher: threading.Thread | None = None
        self._unflushed = threading.Event()

    # ---- for the loop

    def greet(self, greeting: Message, within: float | None = None) -> None:
        """Report the start of the loop to the client, repeatedly until it sends a message.

        A controller that does not know the client's socket yet drops messages for it, as it does for a
        client that has gone since it asked for this loop, of which nothing tells.

        Args:
            greeting: says who is here.
            within: seconds for the client to answer, after which the loop must end; None: if it were gone,
                the transport would tell.
        """
        deadline = _clock() + (GREETED_BY if within is None else within)
        pause = GREET_AGAIN
        while not (self.ended or self.reason):
            self.send(greeting)
            if self.wait(lambda: self._greeted, min(pause, max(0.0, deadline - _clock()))):
                return
            if _clock() >= deadline:
                break
            pause *= 2
        if within is not None:
            self.reason = self.reason or UNANSWERED

    def next_call(self, *, wait: bool = True) -> Call | Open | None:
        """Return the next call, code of channels first; `wait` for one.  None: there is none, or no more."""
        while not self.reason:
            if not self.has_work:
                if not wait:
                    return None
                self.read_until(lambda: self.has_work)
            elif _clock() - self._looked > LOOK:
                self.exchange()
            if self._opened:  # earlier answers must not wait for the end of the code
                self.flush()
            with self._lock:
                waiting = self._opened or self._calls
                if waiting and not self.reason:
                    self.taken = waiting[0]
                    return waiting.popleft()
        return None

    def take_stopped(self) -> list[int]:
        """Return the calls of async functions whose items are to be canceled, once."""
        taken = []
        while self._to_stop:
            taken.append(self._to_stop.popleft())
        return taken

    def take_again(self) -> Call | Open | None:
        """Return the loop's current message after an exception hit it; None if there was none."""
        with self._lock:
            for waiting in (self._calls, self._opened):
                if waiting and waiting[0] is self.taken:  # it hit just when that was taken
                    waiting.popleft()
            return self.taken

    def ask_for_function(self, call: Call) -> None:
        """Give the current call back, and those queued that need the same function, to get that first."""
        try:
            with self._lock:
                if call.id in self._given_up:
                    self.put([self._not_begun(call)])
                    self.taken = None
                    return
                waiting = [call, *(other for other in self._calls if other.digest == call.digest)]
                self._calls = deque(other for other in self._calls if other.digest != call.digest)
            self.put([Missing(call.digest, tuple(other.id for other in waiting))])
            self.taken = None
        except BaseException:
            self._torn = True
            raise

    def is_given_up(self, call: int) -> bool:
        """Whether the client has canceled a call that was taken."""
        self._read_at_once()
        with self._lock:
            return call in self._given_up

    @property
    def is_abandoned(self) -> bool:
        """Whether the loop's current call is not wanted any more."""
        return bool(self.reason) or (isinstance(self.taken, Call) and self.taken.id in self._given_up)

    def load(self, digest: bytes) -> Load | None:
        """Return a received function, if it is still cached."""
        with self._lock:
            if digest in self._loads:
                self._loads.move_to_end(digest)
            return self._loads.get(digest)

    def begin(self, run: int) -> Begin | None:
        """Return a run's settings from the client, if received."""
        with self._lock:
            return self._begun.get(run)

    @property
    def torn(self) -> bool:
        """Whether an exception hit while messages were in hand: some may be lost, or sent partly."""
        return self._torn or self.outbox.torn

    def reset(self) -> None:
        """Reset, in the loop's own thread, wherever an exception has hit."""
        self._shield.reset()
        with self._lock:
            if self._reader == threading.get_ident():
                self._reader = 0
                self._tell()

    def close(self) -> None:
        """Stop reading and sending."""
        with self._lock:
            self._closed = True
            self._unflushed.set()
            self._tell()
            while self._reader not in (0, threading.get_ident()) or self.outbox.sending:
                self._transport.wake()
                self._wait(SLICE)

    # ---- sending

    def send(self, *messages: Message) -> None:
        """Send messages now, after the queued ones."""
        self.outbox.put(messages)
        self.flush()

    def send_ahead(self, message: Message) -> None:
        """Send a message now, before the queued ones."""
        self._send([message])

    def flush(self) -> None:
        """Send all queued messages, and what code has printed."""
        if self._channels.dropped:
            self._channels.close_dropped()
        if self.outbox.waiting:
            self.outbox.flush()
        else:
            self._channels.tell_printed()

    def _flush_soon(self) -> None:
        """Flush soon, whatever this thread does then."""
        if self._flusher is None:
            self._flusher = threading.Thread(target=self._flush_now_and_then, name="nbpar flush", daemon=True)
            self._flusher.start()
        self._unflushed.set()

    def _flush_now_and_then(self) -> None:
        while not self._closed:
            self._unflushed.wait()
            self._unflushed.clear()
            time.sleep(GATHER)
            self.flush()

    def _send_queued(self, messages: Sequence[Message]) -> None:
        self._channels.tell_printed()
        self._send(messages)

    def _send(self, messages: Sequence[Message]) -> None:
        if self._closed:
            return
        try:
            self._transport.send(messages)
        except BaseException:
            self._torn = True
            raise

    # ---- waiting and reading

    def wait(self, ready: Callable[[], bool], timeout: float | None) -> bool:
        """Read until `ready()`, or for `timeout` seconds; whether it is ready.

        Returns also when the client is gone.
        """
        deadline = None if timeout is None else _clock() + timeout
        while not ready():
            left = self._left(deadline)
            if left <= 0 or self._closed or self.ended:
                return ready()
            self.flush()
            self._read(left, ready)
        return True

    def exchange(self) -> None:
        """Read and send what there is, without waiting."""
        self._read_at_once()
        if self.outbox.waiting:
            self.flush()

    def notify(self) -> None:
        """Wake the waiting threads."""
        if self._reader == threading.get_ident():
            return  # it does that after handling the received messages
        with self._lock:
            self._tell()
            reading = self._reader
        if reading:
            self._transport.wake()

    def wake(self) -> None:
        """Wake the reading thread; takes no lock."""
        self._transport.wake()

    def lose_client(self) -> None:
        """Count the client as gone: the loop, and all who wait for messages, go on at once."""
        self.reason = self.reason or "the client is gone"
        self._client_lost = True
        self.notify()
        if (notified := self.notified) is not None:
            notified()

    @property
    def ended(self) -> bool:
        """Whether the client is gone, or its messages can no longer be understood."""
        return self._client_lost or self._transport.ended or self.torn

    @property
    def garbled(self) -> bool:
        """Whether that is because of an invalid message."""
        return getattr(self._transport, "garbled", False)

    @property
    def lost(self) -> bool:
        """Whether the client is gone, or has been silent for too long."""
        return self.ended or self._left(None) <= 0

    @property
    def has_work(self) -> bool:
        """Whether `next_call` returns at once."""
        return bool(self._calls or self._opened or self.reason)

    def read_until(self, ready: Callable[[], bool]) -> None:
        """Read until `ready()`; if the client is gone before, the loop must end."""
        if not self.wait(ready, None):
            silent = f"the client was silent for {self._silence:g} s"
            self.reason = self.reason or ("the client is gone" if self.ended else silent)

    def _left(self, deadline: float | None) -> float:
        silent = self._heard + self._silence
        return (silent if deadline is None else min(silent, deadline)) - _clock()

    def _read_at_once(self) -> None:
        if not self._reader:
            self._read(0.0)

    def _read(self, timeout: float, ready: Callable[[], bool] = lambda: False) -> None:
        """Read for all threads, or wait while another thread does."""
        me = threading.get_ident()
        with self._lock:
            if self._reader not in (0, me):  # if it is this one, an exception hit it before it could say so
                if not ready():
                    self._wait(min(timeout, SLICE) if self._shield.up else timeout)
                if self._shield.up:
                    self._shield.wait(lambda _: None, 0.0)  # a signal received meanwhile raises here
                return
            if ready() or self._closed:
                return
            self._reader = me
        try:
            if timeout:
                self._shield.wait(self._transport.poll, timeout)
            self._distribute()
        finally:
            with self._lock:
                self._reader = 0
                self._tell()

    def _distribute(self) -> None:
        """Hand the received messages to those whom they concern."""
        try:
            messages = self._transport.receive(0.0)
            self._looked = _clock()
            if messages:
                self._heard, self._greeted = self._looked, True
            for message in messages:
                if type(message) not in OF_CHANNELS or not self._channels.take(message):
                    self._take(message)
            if messages and (notified := self.notified) is not None:
                notified()
        except BaseException:
            self._torn = True
            raise

    def _take(self, message: Message) -> None:
        """Queue a message for the loop."""
        if isinstance(message, (Cancel, Cut, Stop)):
            self._recall(message)
        elif isinstance(message, Ping):
            self.put([Pong(message.token)])
        elif isinstance(message, Release):
            self.reason = "released"
        elif isinstance(message, FoundModule):
            self.take_module(message)
        elif isinstance(message, FoundBuffers):
            self.take_buffers(message)
        else:
            with self._lock:
                self._keep(message)

    def _keep(self, message: Message) -> None:
        if isinstance(message, Call):
            self._calls.append(with_kept(message, self._kept))
        elif isinstance(message, Open):
            self._opened.append(message)
        elif isinstance(message, Load):
            self._loads[message.digest] = message
            while len(self._loads) > FUNCTIONS:
                self._loads.popitem(last=False)
        elif isinstance(message, Begin):
            self._begun[message.run] = message
            while len(self._begun) > FUNCTIONS:
                self._begun.popitem(last=False)
        elif isinstance(message, Keep):
            [self._kept[message.key]] = message.body.buffers
        elif isinstance(message, Drop):
            for key in message.keys:
                self._kept.pop(key, None)

    def _recall(self, message: Cancel | Cut | Stop) -> None:
        """Give back what has not begun; a call that runs and is to be cut is left to the attendant."""
        ids = (message.call,) if isinstance(message, Cut) else message.ids
        with self._lock:
            if isinstance(message, Stop):
                self.stopped.update(dict.fromkeys(ids))
                self._to_stop.extend(ids)
                while len(self.stopped) > max(GIVEN_UP, len(ids)):
                    self.stopped.popitem(last=False)
            elif isinstance(message, Cancel):
                self._given_up.extend(ids)
            elif isinstance(self.taken, Call) and self.taken.id == message.call:
                self.cut = message.call
            recalled = [call for call in self._calls if call.id in ids]
            for call in recalled:
                self._calls.remove(call)
        if recalled:
            self.put([self._not_begun(call) for call in recalled])

    def _wait(self, timeout: float) -> None:
        self._waiting += 1
        try:
            self._changed.wait(timeout)
        finally:
            self._waiting -= 1

    def _tell(self) -> None:
        if self._waiting:
            self._changed.notify_all()
