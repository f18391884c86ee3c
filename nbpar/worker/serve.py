"""The worker loop: load, call, answer, release.  It always answers.

It runs in the thread where the user's functions run (the main thread of an engine, so that
signals reach them) and serves one client over one transport.
"""

from __future__ import annotations

import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from nbpar.core.spread import caller
from nbpar.errors import PicklingError
from nbpar.wire.diagnosis import explain_unpickling
from nbpar.wire.faults import Fault, describe
from nbpar.wire.lodging import NotLodgedError
from nbpar.wire.messages import (
    INITIALIZER,
    NO_COSTS,
    Begin,
    Bye,
    Call,
    Done,
    Load,
    Missing,
    Open,
    Output,
    Ready,
)
from nbpar.worker.channels import Channels
from nbpar.worker.codec import Codec, Pickled
from nbpar.worker.desk import Desk, Transport
from nbpar.worker.execution import Execution, Look
from nbpar.worker.initial import provide, remember
from nbpar.worker.interrupting import Interrupts
from nbpar.worker.memory import resident_bytes
from nbpar.worker.output import Piece, Pieces
from nbpar.worker.post import FUNCTIONS, Post
from nbpar.worker.shielding import Shield

SILENCE = 60.0
"""Seconds without a word from the client after which the loop leaves."""

LOOK_AT_CPU = 1e-3
"""Seconds of work after which the CPU time is looked at."""

Prepare = Callable[[Begin | None, Load, Callable[[Piece], None]], AbstractContextManager[None]]
"""Makes the worker ready for a run while the run's function is made; takes what to tell of that."""


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
        pool: bytes = b"",
    ) -> None:
        shield = Shield(interrupts)
        self._desk = Desk(transport, shield, silence=silence)
        self._post = Post(self._desk, self._not_begun)
        self._post.abandon = interrupts.stop
        self.channels = Channels(self._desk, shield, interrupts, codec.describe)
        self._codec = codec
        self._interrupts = interrupts
        self._facts = facts
        self._silence = silence
        self._pool = pool
        self._made: OrderedDict[tuple[bytes, int], Callable[[Any], Any] | Fault] = OrderedDict()
        self._just_made = False
        self._unpacking = 0.0
        """Seconds in which items were unpickled whose outcomes are not on their way yet."""

        self._cpu = (time.process_time(), time.thread_time())
        self._execution: Execution | None = None
        self.look: Look | None = None
        self._imported = 0
        self.note_imports: Callable[[], None] = lambda: None
        """Called after a call that has imported modules."""

        self.prepared: Prepare = lambda *_: nullcontext()

    @property
    def index(self) -> int:
        """Index of the item that runs now; what belongs to a channel has a negative one."""
        if (index := self.channels.index) is not None:
            return index
        return self._execution.index if self._execution is not None else -1

    def serve(self) -> str:
        """Answer until released; return why it ended."""
        self._post.greet(Ready(self._facts))
        with self._post:
            while (call := self._post.next_call(self._silence)) is not None:
                if isinstance(call, Open):
                    self.channels.run_main(call)
                else:
                    self._answer(call)
        self.channels.break_all(self._post.reason)
        self._post.send(Bye(self._post.reason))
        self._desk.close()
        self._made.clear()  # whoever still knows the loop need not hold what functions have captured
        return self._post.reason

    def send_output(self, pieces: Pieces) -> None:
        """Send what the running item has printed so far."""
        with self._interrupts.shield():
            pieces = self.channels.sort_out(pieces)
            if self._execution is not None and pieces:
                self._post.send(Output(self._execution.call_id, pieces))

    def _answer(self, call: Call) -> None:
        function = self._function(call)
        if function is None:
            waiting = [call, *self._post.take_calls_for(call.digest)]
            self._post.put(Missing(call.digest, tuple(call.id for call in waiting)))
            return
        began = time.perf_counter()
        items, broken = self._codec.items(call.items, call.first)
        self._unpacking += time.perf_counter() - began
        broken = {**call.broken, **broken}
        if isinstance(function, Fault):
            broken = dict.fromkeys(range(len(items)), function)
            function = _never
        first_call, self._just_made = self._just_made, False
        self._run(Execution(
            function, items, call, broken, interrupts=self._interrupts, describe=self._codec.describe,
            look=self.look, first_call=first_call,
        ))  # fmt: skip

    def _run(self, execution: Execution) -> None:
        self._execution = execution
        if execution.long:
            self._post.send()  # earlier answers do not wait for this one
        over = False
        while not over:
            execution.advance()
            over = execution.finished
            pieces = self.channels.take_output(over=over)
            printed = [Output(execution.call_id, pieces)] if pieces else []
            tell = self._post.put if over else self._post.send
            tell(*printed, self._done(execution))
        self._execution = None
        if len(sys.modules) != self._imported:
            self._imported = len(sys.modules)
            self.note_imports()

    def _done(self, execution: Execution) -> Done:
        first, values, faults, seconds, each = execution.take()
        began = time.perf_counter()
        body, unsendable = self._codec.values(values, first)
        packing, self._unpacking = self._unpacking + time.perf_counter() - began, 0.0
        return Done(
            execution.call_id, first, execution.finished, execution.interrupted, seconds, each,
            resident_bytes(), {**faults, **unsendable}, (*self._cpu_since(seconds), packing, 0.0), 0, body,
        )  # fmt: skip

    def _cpu_since(self, seconds: float) -> tuple[float, float]:
        """Return the CPU seconds of the process and of this thread since they were asked for last.

        After very short work they are not looked at, which would take as long; they show the next time.
        """
        if seconds < LOOK_AT_CPU or not isinstance(self._codec, Pickled):
            return 0.0, 0.0
        before, self._cpu = self._cpu, (time.process_time(), time.thread_time())
        return self._cpu[0] - before[0], self._cpu[1] - before[1]

    def _not_begun(self, call: Call) -> Done:
        body, _ = self._codec.values([], call.first)
        return Done(call.id, call.first, True, False, 0.0, (), resident_bytes(), {}, NO_COSTS, 0, body)

    def _function(self, call: Call) -> Callable[[Any], Any] | Fault | None:
        """Return a call's function, made anew for each run, or why it cannot be; None: not loaded."""
        key = (call.digest, call.run)
        if key not in self._made:
            if (load := self._post.load(call.digest)) is None:
                return None
            try:
                self._made[key] = self._make(load, call)
            except NotLodgedError:
                return None
            self._just_made = True
            while len(self._made) > FUNCTIONS:
                self._made.popitem(last=False)
        return self._made[key]

    def _make(self, load: Load, call: Call) -> Callable[[Any], Any] | Fault:
        notes: list[Piece] = []
        try:
            with self.prepared(self._post.begin(call.run), load, notes.append):
                function = self._codec.function(load.function)
            if call.run == INITIALIZER:
                remember(self._pool, function)
            else:
                provide(self._pool, function)
            return caller(function, call.spread)
        except NotLodgedError:
            raise
        except Exception as error:  # noqa: BLE001 (any user code may run here)
            new = PicklingError(explain_unpickling(error, what=f"the function {load.name}"))
            return describe(new.with_traceback(error.__traceback__))
        finally:
            if notes:
                self._post.put(Output(call.id, tuple(notes)))


def _never(item: Any) -> Any:
    raise AssertionError(f"called with {item!r}")
