"""A loop's mail: what has arrived and what has not been sent yet.

While user code keeps the loop's own thread busy, an attendant thread goes on reading and
sending: finished answers do not wait for a long item, calls that wait behind it can be
recalled, pings are answered, and code whose client is gone is stopped.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from nbpar.wire.messages import Begin, Call, Cancel, Load, Message, Open, Ping, Pong, Release

if TYPE_CHECKING:
    from typing_extensions import Self

LOOK = 0.001
"""Seconds of work after which a loop looks for new messages and sends its answers."""

TICK = 0.02
"""Seconds between two looks of the attendant."""

FUNCTIONS = 32
"""How many functions a worker keeps."""

GREETINGS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
"""Seconds between two greetings, until the client has said something."""

_clock = time.monotonic


class Mail(Protocol):
    """One way to the client."""

    @property
    def ended(self) -> bool:
        """Whether the client has gone."""

    @property
    def lost(self) -> bool:
        """Whether it has gone, or has been silent for too long."""

    def receive(self, timeout: float) -> Sequence[Message]:
        """Return what has arrived; wait up to `timeout` seconds for something."""

    def send(self, messages: Sequence[Message]) -> None:
        """Send messages together."""


class Post:
    """Everything between a loop and its transport, safe for the loop and its attendant."""

    def __init__(self, transport: Mail, not_begun: Callable[[Call], Message]) -> None:
        self.reason = ""
        """Why the loop has to end; empty while it goes on."""

        self.abandon: Callable[[], None] = lambda: None
        """Called again and again, in the attendant's thread, once nobody waits for what the loop does."""

        self._transport = transport
        self._not_begun = not_begun
        self._lock = threading.Lock()  # for all that follows and for the transport
        self._calls: deque[Call] = deque()
        self._opened: deque[Open] = deque()
        self._loads: OrderedDict[bytes, Load] = OrderedDict()
        self._begun: OrderedDict[int, Begin] = OrderedDict()
        self._unsent: list[Message] = []
        self._looked = 0.0
        self._over = threading.Event()

    def __enter__(self) -> Self:
        threading.Thread(target=self._attend, name="nbpar attendant", daemon=True).start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._over.set()

    def greet(self, greeting: Message) -> None:
        """Tell the client that the loop has begun, again and again until it says something.

        A controller that does not know the client's socket yet drops what is for it.
        """
        for pause in GREETINGS:
            self.send(greeting)
            with self._lock:
                if self._receive(pause) or self._transport.ended:
                    return

    def next_call(self, silence: float) -> Call | Open | None:
        """Return the next call, code of channels first; wait for one.  None: the loop has to end."""
        while not self.reason:
            with self._lock:
                if not self.reason:  # the attendant may have read of the end before it gave up the lock
                    self._look(silence)
                if self._opened and not self.reason:
                    self._flush()
                    return self._opened.popleft()
                if self._calls and not self.reason:
                    return self._calls.popleft()
        return None

    def put(self, *messages: Message) -> None:
        """Send messages soon, together with others."""
        with self._lock:
            self._unsent += messages

    def send(self, *messages: Message) -> None:
        """Send messages now, after those that wait."""
        with self._lock:
            self._unsent += messages
            self._flush()

    def load(self, digest: bytes) -> Load | None:
        """Return a function that has arrived, if it is still here."""
        with self._lock:
            if digest in self._loads:
                self._loads.move_to_end(digest)
            return self._loads.get(digest)

    def begin(self, run: int) -> Begin | None:
        """Return what a run finds at the client's side, if that was said."""
        with self._lock:
            return self._begun.get(run)

    def take_calls_for(self, digest: bytes) -> list[Call]:
        """Take the waiting calls that need a function."""
        with self._lock:
            waiting = [call for call in self._calls if call.digest == digest]
            self._calls = deque(call for call in self._calls if call.digest != digest)
        return waiting

    def _attend(self) -> None:
        """Keep mail moving while the loop is busy; when it waits for mail itself, it holds the lock."""
        while not self._over.wait(TICK):
            if self._lock.acquire(blocking=False):
                try:
                    if not self._over.is_set():
                        self._receive(0)
                        self._flush()
                finally:
                    self._lock.release()
            if self._transport.lost and not self._over.is_set():
                self.reason = self.reason or "the client is gone"
                self.abandon()

    def _look(self, silence: float) -> None:
        """Read what has arrived, but not after every microsecond of work."""
        if not self._calls and not self._opened:
            self._flush()
            waited_since = _clock()
            if self._receive(silence):
                return
            if self._transport.ended:
                self.reason = "the client is gone"
            elif _clock() - waited_since >= silence:
                self.reason = f"the client was silent for {silence:g} s"
        elif _clock() - self._looked > LOOK:
            self._flush()
            self._receive(0)

    def _receive(self, timeout: float) -> bool:
        messages = self._transport.receive(timeout)
        self._looked = _clock()
        for message in messages:
            self._take(message)
        return bool(messages)

    def _take(self, message: Message) -> None:
        if isinstance(message, Call):
            self._calls.append(message)
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
        elif isinstance(message, Cancel):
            self._recall(message.ids)
        elif isinstance(message, Ping):
            self._unsent.append(Pong(message.token))
        elif isinstance(message, Release):
            self.reason = "released"

    def _recall(self, ids: tuple[int, ...]) -> None:
        for call in [call for call in self._calls if call.id in ids]:
            self._calls.remove(call)
            self._unsent.append(self._not_begun(call))

    def _flush(self) -> None:
        if self._unsent:
            messages, self._unsent = self._unsent, []
            self._transport.send(messages)
