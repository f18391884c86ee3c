"""The worker loop: load, call, answer, release.  It always answers.

It runs in the thread where the user's functions run (the main thread of an engine, so that
signals reach them) and serves one client over one transport.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from nbpar.core.spread import caller
from nbpar.errors import PicklingError
from nbpar.wire.diagnosis import explain_unpickling
from nbpar.wire.faults import Fault, describe
from nbpar.wire.frames import (
    Bye,
    Call,
    Cancel,
    Done,
    Load,
    Message,
    Missing,
    Output,
    Ping,
    Pong,
    Ready,
    Release,
)
from nbpar.worker.codec import Codec
from nbpar.worker.execution import Execution
from nbpar.worker.interrupting import Interrupts
from nbpar.worker.memory import resident_bytes

SILENCE = 60.0
"""Seconds without a word from the client after which the loop leaves."""

LOOK = 0.001
"""Seconds of work after which the loop looks for new messages and sends its answers."""

FUNCTIONS = 32
"""How many functions a worker keeps."""

_clock = time.monotonic


class Transport(Protocol):
    """One way to the client."""

    def receive(self, timeout: float) -> Sequence[Message]:
        """Return what has arrived; wait up to `timeout` seconds for something."""

    def send(self, messages: Sequence[Message]) -> None:
        """Send messages together."""


class Loop:
    """One client's worker, until it is released."""

    def __init__(
        self,
        transport: Transport,
        codec: Codec,
        *,
        interrupts: Interrupts,
        facts: dict[str, Any],
        silence: float = SILENCE,
    ) -> None:
        self._transport = transport
        self._codec = codec
        self._interrupts = interrupts
        self._facts = facts
        self._silence = silence
        self._calls: deque[Call] = deque()
        self._loads: OrderedDict[bytes, Load] = OrderedDict()
        self._made: OrderedDict[tuple[bytes, int], Callable[[Any], Any] | Fault] = OrderedDict()
        self._unsent: list[Message] = []
        self._unsent_since = 0.0
        self._looked = 0.0
        self._reason = ""
        self._execution: Execution | None = None
        self.output: Callable[[], tuple[tuple[int, str, str], ...]] = tuple
        self.end_output: Callable[[], None] = lambda: None

    @property
    def index(self) -> int:
        """Index of the item that runs now."""
        return self._execution.index if self._execution is not None else -1

    def serve(self) -> str:
        """Answer until released; return why it ended."""
        self._transport.send([Ready(self._facts)])
        while not self._reason:
            self._look()
            if self._calls and not self._reason:
                self._answer(self._calls.popleft())
        self._flush()
        self._transport.send([Bye(self._reason)])
        return self._reason

    def send_output(self, lines: tuple[tuple[int, str, str], ...]) -> None:
        """Send what the running item has printed so far."""
        if self._execution is None:
            return
        with self._interrupts.shield():
            self._transport.send([Output(self._execution.call_id, lines)])

    def _look(self) -> None:
        """Read what has arrived, but not after every microsecond of work."""
        if not self._calls:
            self._flush()
            messages = self._transport.receive(self._silence)
            if not messages:
                self._reason = f"the client was silent for {self._silence:g} s"
        elif _clock() - self._looked > LOOK:
            self._flush()
            messages = self._transport.receive(0)
        else:
            return
        self._looked = _clock()
        for message in messages:
            self._take(message)

    def _take(self, message: Message) -> None:
        if isinstance(message, Call):
            self._calls.append(message)
        elif isinstance(message, Load):
            self._loads[message.digest] = message
            while len(self._loads) > FUNCTIONS:
                self._loads.popitem(last=False)
        elif isinstance(message, Cancel):
            self._cancel(message.ids)
        elif isinstance(message, Ping):
            self._unsent.append(Pong(message.token))
        elif isinstance(message, Release):
            self._reason = "released"

    def _cancel(self, ids: tuple[int, ...]) -> None:
        for call in [call for call in self._calls if call.id in ids]:
            self._calls.remove(call)
            self._unsent.append(self._nothing_done(call))

    def _answer(self, call: Call) -> None:
        function = self._function(call)
        if function is None:
            waiting = [other for other in self._calls if other.digest == call.digest]
            self._calls = deque(other for other in self._calls if other.digest != call.digest)
            self._unsent.append(Missing(call.digest, (call.id, *(other.id for other in waiting))))
            return
        items, broken = self._codec.items(call.items, call.first)
        broken = {**call.broken, **broken}
        if isinstance(function, Fault):
            broken = dict.fromkeys(range(len(items)), function)
            function = _never
        self._run(Execution(
            function, items, call, broken, interrupts=self._interrupts, describe=self._codec.describe
        ))  # fmt: skip

    def _run(self, execution: Execution) -> None:
        self._execution = execution
        if execution.long:
            self._flush()  # earlier answers do not wait for this one
        while True:
            execution.advance()
            if lines := self.output():
                self._unsent.append(Output(execution.call_id, lines))
            self._unsent.append(self._done(execution))
            if execution.finished:
                break
            self._flush()
        self._execution = None
        self.end_output()

    def _done(self, execution: Execution) -> Done:
        first, values, faults, seconds, each = execution.take()
        body, unsendable = self._codec.values(values, first)
        return Done(
            execution.call_id, first, execution.finished, execution.interrupted, seconds, each,
            resident_bytes(), {**faults, **unsendable}, 0, body,
        )  # fmt: skip

    def _nothing_done(self, call: Call) -> Done:
        body, _ = self._codec.values([], call.first)
        return Done(call.id, call.first, True, False, 0.0, (), resident_bytes(), {}, 0, body)

    def _function(self, call: Call) -> Callable[[Any], Any] | Fault | None:
        """Return a call's function, made anew for each run, or why it cannot be; None: not loaded."""
        key = (call.digest, call.run)
        if key not in self._made:
            if (load := self._loads.get(call.digest)) is None:
                return None
            self._loads.move_to_end(call.digest)
            self._made[key] = self._make(load, call.spread)
            while len(self._made) > FUNCTIONS:
                self._made.popitem(last=False)
        return self._made[key]

    def _make(self, load: Load, spread: str) -> Callable[[Any], Any] | Fault:
        try:
            return caller(self._codec.function(load.function), spread)
        except Exception as error:  # noqa: BLE001 (any user code may run here)
            new = PicklingError(explain_unpickling(error, what=f"the function {load.name}"))
            return describe(new.with_traceback(error.__traceback__))

    def _flush(self) -> None:
        if self._unsent:
            messages, self._unsent = self._unsent, []
            self._transport.send(messages)


def _never(item: Any) -> Any:
    raise AssertionError(f"called with {item!r}")
