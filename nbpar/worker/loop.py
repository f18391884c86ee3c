"""The worker loop: load, call, answer, release.  It always answers.

It runs in the thread where the user's functions run (the main thread of an engine, so that
signals reach them) and serves one client over one transport.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nbpar.core.call_style import CallStyle
from nbpar.host.cpus import queued_seconds
from nbpar.host.memory import resident_bytes
from nbpar.wire.faults import Fault
from nbpar.wire.messages import (
    INITIALIZER,
    NO_COSTS,
    Bars,
    Bye,
    Call,
    Done,
    Imported,
    LateOutput,
    Message,
    Open,
    Output,
    Ready,
    Running,
)
from nbpar.wire.shared_memory import NotMappedError
from nbpar.worker.asked_waits import telling
from nbpar.worker.attendant import Attendant
from nbpar.worker.channel_host import Channels
from nbpar.worker.codec import Codec, Pickled
from nbpar.worker.early_results import Early
from nbpar.worker.execution import Execution
from nbpar.worker.function_cache import FunctionCache
from nbpar.worker.host_buffers import HostBuffers
from nbpar.worker.mail.mailbox import Mailbox
from nbpar.worker.mail.ports import Transport
from nbpar.worker.modules.imports import Imports
from nbpar.worker.modules.requests import ModuleRequests
from nbpar.worker.output.bars import InnerBars
from nbpar.worker.output.plain import plain_stray
from nbpar.worker.output.recorder import NOTHING, ItemId, OutputRecorder, Piece, Pieces
from nbpar.worker.output.streams import take_over_bars
from nbpar.worker.run_setup import WorkerHooks
from nbpar.worker.signals import Interrupts, Shield

if TYPE_CHECKING:
    from nbpar.worker.coroutines.service import CoroutineService
    from nbpar.worker.profiling.profiler import Profiler

SILENCE = 60.0
"""Seconds of silence of the client after which the loop ends."""

MOST_STRIKES = 20
"""Maximal number of consecutive exceptions that hit the loop itself before it ends."""

LOOK_AT_CPU = 1e-3
"""Seconds of work after which the CPU time is measured."""


@dataclass
class Strikes:
    """The exceptions that hit the loop itself, and so belong to no item."""

    number: int = 0
    """How many there were since the last call was over."""

    untold: list[Fault] = field(default_factory=list)
    """Those not reported to the client yet."""

    torn: bool = False
    """Whether one of them hit while outcomes were passed on."""


class Loop:
    """One client's worker, until it is released.

    Args:
        transport: leads to the client.
        codec: how functions, items and outcomes travel.
        interrupts: what interrupts user code here.
        facts: what the client is told of this worker.
        silence: seconds without a message after which the client counts as gone.
        pool: identity of the client's pool.
        answered_within: seconds for the client to answer the greeting; None if the transport tells that
            it is gone.
        client_ended: returns whether the client's process has ended; called often, from any thread.
    """

    def __init__(
        self,
        transport: Transport,
        codec: Codec,
        *,
        interrupts: Interrupts,
        facts: dict[str, Any],
        silence: float = SILENCE,
        pool: bytes = b"",
        answered_within: float | None = None,
        client_ended: Callable[[], bool] = lambda: False,
    ) -> None:
        shield = Shield(interrupts)
        self._far = isinstance(codec, Pickled)
        self.recorder = OutputRecorder(
            lambda: self.index, self.send_output, far=self._far, running=self._running_item,
            send_late=self._send_late_output if self._far else None,
        )  # fmt: skip
        """The output of items and of channels' code, as far as it is recorded here."""

        self.recorder.bars = self._bars = InnerBars()
        self.channels = Channels(
            lambda channels: Mailbox(
                transport, shield, channels, silence=silence, not_begun=self._not_begun
            ),
            shield, interrupts, codec.describe, self.recorder.take,
        )  # fmt: skip
        self._mailbox = self.channels.mailbox
        self.modules = ModuleRequests(self._mailbox, shield)
        self.buffers = HostBuffers(self._mailbox)
        self._functions = FunctionCache(self._mailbox, self.buffers, codec, interrupts, pool)
        self._early = Early(self._mailbox, self.channels, codec)
        self.imports = Imports(self._note_import)
        self._imported = 0
        self._run_number: int | None = None
        self._codec = codec
        self._describe: Callable[[BaseException], Fault] = codec.describe
        """Serializes exceptions of the current run's items."""

        self._begun_after: float | None = None
        """As of the current run's settings."""

        self._profiled = False
        """Whether the current run is profiled."""

        self._profiler: Profiler | None = None
        """Samples items; None before the first profiled run."""

        self._interrupts = interrupts
        self._facts = facts
        self._answered_within = answered_within
        self._client_ended = client_ended
        self._hooks = WorkerHooks()
        self._unpacking = 0.0
        """Seconds of unpickling items whose outcomes have not been sent."""

        self._cpu = _cpu_seconds()
        self._execution: Execution | None = None
        self.over = self._greeted = False
        """Whether the client knows that there will be no more messages; that there will be some."""

        self._strikes = Strikes()
        self.coroutines: CoroutineService | None = None
        """Items of async functions; None before the first."""

    @property
    def index(self) -> int:
        """Index of the current item; code of a channel has a negative one."""
        if (index := self.channels.index) is not None:
            return index
        return self._execution.index if self._execution is not None else -1

    def serve(self, hooks: WorkerHooks | None = None) -> str:
        """Answer until released; return the reason of the end."""
        self._hooks = hooks or self._hooks
        with Attendant(
            self._mailbox,
            look=self._look,
            abandon=self._interrupts.stop,
            client_ended=self._client_ended,
        ):
            while not self._answer_all():
                pass
            if self.coroutines is not None:
                self.coroutines.close()
        if self._profiler is not None:
            self._profiler.close()
        self.channels.break_all(self._mailbox.reason)
        if not self._mailbox.garbled:  # else this end counts as a loss, or messages would be repeated
            self._mailbox.send(Bye(self._mailbox.reason))
        self.over = True
        self._mailbox.close()
        self._functions.clear()
        self.buffers.clear()
        return self._mailbox.reason

    def send_output(self, pieces: Pieces) -> None:
        """Send the output of the running item so far."""
        with self._interrupts.shield():
            pieces = self.channels.sort_out(pieces)
            if self._execution is not None and pieces:
                self._mailbox.send(Output(self._execution.call_id, pieces))

    def _send_late_output(self, run: int, piece: Piece) -> None:
        """Send output of an item that is over, from a thread that it has started."""
        self._mailbox.outbox.post(LateOutput(run, (piece,)))

    def _running_item(self) -> ItemId | None:
        """The item that runs; None while code of a channel does."""
        execution = self._execution
        return None if execution is None or self.channels.index is not None else execution.item_id

    def _answer_all(self) -> bool:
        """Answer until released; False if an exception hit that belongs to no item."""
        try:
            if self._greeted:
                self._go_on()
            else:
                self._greet()
            while (call := self._next_call()) is not None:
                self._take_up(call)
                call = None  # do not keep its items while idle
        except BaseException as error:  # noqa: BLE001 (an item's timer, or a thread, may raise anything here)
            self._survive(error)
            return False
        return True

    def _next_call(self) -> Call | Open | None:
        return self._mailbox.next_call() if self.coroutines is None else self.coroutines.next_call()

    def _look(self) -> None:
        """Look after items that last; called often, in the attendant's thread."""
        self._early.look()
        if self.coroutines is not None:
            self.coroutines.watch()
        if self._profiler is not None and (late := self._profiler.late()):
            self._mailbox.send(*late)
        take_over_bars()  # what is loaded of tqdm without its finder
        if bars := self._bars.take():
            self._mailbox.send(Bars(bars))

    def _greet(self) -> None:
        self._mailbox.greet(Ready(self._facts), self._answered_within)
        self._greeted = True

    def _take_up(self, call: Call | Open) -> None:
        if isinstance(call, Open):
            self.channels.run_main(call)
            if (cleanup := self._hooks.cleanup) is not None:
                cleanup.clear()
        else:
            self._answer(call)
        self._mailbox.taken = None
        self._strikes.number = 0

    def _survive(self, error: BaseException) -> None:
        """Handle an exception that hit the loop itself; raises it if the loop must end."""
        self._strikes.number += 1
        if self._strikes.torn or self._mailbox.torn or self._strikes.number > MOST_STRIKES:
            raise error
        self._mailbox.reset()
        self._strikes.untold.append(self._codec.describe(error))

    def _go_on(self) -> None:
        """Resume the interrupted step of the loop."""
        call = self._mailbox.take_again()
        if isinstance(call, Open):
            self.channels.end_struck(call, self._strikes.untold[-1])
        elif call is not None and self._execution is not None:
            self._run(self._execution)
        elif call is not None:
            self._answer(call)
        self._mailbox.taken = None

    def _tell_running(self, now: bool) -> None:
        """Tell that the time of the item that runs stands still, or goes on."""
        with self._interrupts.shield():
            if self._execution is not None:
                self._mailbox.send(Running(self._execution.call_id, now))

    def _note_import(self, seconds: float) -> None:
        if self._execution is not None:
            self._execution.note_import(seconds)

    def _answer(self, call: Call) -> None:
        self.imports.begin()
        function = self._functions.of(call, self._hooks)
        if function is None:
            self._mailbox.ask_for_function(call)
            return
        self._enter_run(call.run)
        began = time.perf_counter()
        try:
            items, broken = self._codec.items(call.items, call.first)
        except NotMappedError:
            self._mailbox.ask_for_function(call)  # and for the call, with all that is in it
            return
        self._unpacking += time.perf_counter() - began
        broken = {**call.broken, **broken}
        if isinstance(function, Fault):
            broken = dict.fromkeys(range(len(items)), function)
            function = _never
        elif call.spread == CallStyle.CALL and len(items) > 1 and self._far:
            function = self._functions.anew(call, function)
        if call.concurrency:
            self._begin_coroutines(call, function, items, broken)
            return
        if self._profiled and self._profiler is not None:
            function = self._profiler.measured(function, call, len(items))
        cleanup = self._hooks.cleanup
        if cleanup is not None:
            cleanup.clears = call.run != INITIALIZER
        if call.timeout is not None:
            self._mailbox.send(Running(call.id, True))
        execution = Execution(
            function, items, call, broken, interrupts=self._interrupts, describe=self._describe,
            is_given_up=self._mailbox.is_given_up, tell_running=self._tell_running, look=cleanup,
            first_call=self._functions.just_made, by_reference=not self._far,
        )  # fmt: skip
        execution.begun_after = self._begun_after
        self._run(execution)

    def _enter_run(self, run: int) -> None:
        """Prepare the codec for items and values of a run."""
        if run != self._run_number:
            self._run_number = run
            begin = self._mailbox.begin(run)
            self._codec.apart = begin is not None and begin.apart
            self._describe = telling(self._codec.describe, begin)
            self._begun_after = None if begin is None else begin.begun_after
            self._profiled = begin is not None and begin.profile
            if self._profiled and self._profiler is None:
                from nbpar.worker.profiling.profiler import Profiler

                self._profiler = Profiler()

    def _begin_coroutines(
        self, call: Call, function: Callable[[Any], Any], items: Sequence[Any], faults: dict[int, Fault]
    ) -> None:
        from nbpar.worker.coroutines.item import CoroutineCall

        if self.coroutines is None:
            from nbpar.worker.coroutines.service import CoroutineService, WorkerSide

            self.coroutines = CoroutineService(WorkerSide(
                self._mailbox, self._codec, self._interrupts, self._far, self._bars,
                self._send_late_output if self._far else None, self._enter_run, self._after_coroutines,
                self._cpu_since,
            ))  # fmt: skip
        made = CoroutineCall(call, function, list(items), faults, self._describe, by_reference=not self._far)
        made.begun_after = self._begun_after
        self.coroutines.begin(made, self._profiler if self._profiled else None)

    def _after_coroutines(self) -> None:
        if (cleanup := self._hooks.cleanup) is not None:
            cleanup.look(NOTHING)

    def _run(self, execution: Execution) -> None:
        self._execution = execution
        if execution.long:
            self._mailbox.flush()  # earlier answers must not wait for this one
        over = False
        while not over:
            self._early.running = execution
            self._advance(execution)
            self._early.stop()
            over = self._hand_over(execution)
        execution.close()
        if len(sys.modules) != self._imported:
            self._imported = len(sys.modules)
            self._hooks.note_imports()
        if (cleanup := self._hooks.cleanup) is not None and not cleanup.clears:
            cleanup.clears = True
            cleanup.keep()

    def _advance(self, execution: Execution) -> None:
        if self._profiled and self._profiler is not None:
            self._profiler.advance(execution, execution.run)
        else:
            execution.advance()

    def _hand_over(self, execution: Execution) -> bool:
        """Send new outcomes to the client; return whether they were the last ones."""
        pieces = self.channels.take_output(over=execution.finished)
        if execution.strays or self._strikes.untold:
            pieces = (*pieces, *self._told_strays(execution))
        news: list[Message] = [Output(execution.call_id, pieces)] if pieces else []
        if self.imports.seconds:
            news.append(Imported(execution.call_id, self.imports.take()))
        if limited := execution.limited:
            self._mailbox.send(Running(execution.call_id, False))
        if self._profiled and self._profiler is not None:
            idle = execution.finished and not self._mailbox.has_work
            news += self._profiler.news(execution.run, execution.call_id, idle=idle)
        done = self._done(execution)
        if limited and not done.final:
            news.append(Running(execution.call_id, True))
        try:
            if done.final:
                self._execution = self._mailbox.taken = None
            if not done.final or execution.faults:  # frames of its exceptions hold it
                execution.drop_news()
            self._mailbox.put([*news, done])
            if not done.final or getattr(done.values, "buffers", None):  # the next item may change them
                self._mailbox.flush()
        except BaseException:  # outcomes may be lost or sent twice
            self._strikes.torn = True
            raise
        return done.final

    def _told_strays(self, execution: Execution) -> list[Piece]:
        strays = [*self._strikes.untold, *execution.strays]
        self._strikes.untold, execution.strays = [], ()
        return [(NOTHING, "warning", plain_stray(fault)) for fault in strays]

    def _done(self, execution: Execution) -> Done:
        first, values, faults, seconds, each = execution.news()
        began = time.perf_counter()
        body, unsendable = self._codec.values(values, first)
        packing, self._unpacking = self._unpacking + time.perf_counter() - began, 0.0
        faults = {**faults, **unsendable}
        if execution.interruption is not None:
            faults[len(values)] = execution.interruption
        return Done(
            execution.call_id, first, execution.finished, execution.interrupted, seconds, each,
            resident_bytes(), faults, (*self._cpu_since(seconds), packing, 0.0), 0, body,
        )  # fmt: skip

    def _cpu_since(self, seconds: float) -> tuple[float, float, float]:
        """Return the increase of `_cpu_seconds` since the last call.

        After very short work they are not read, which would take as long; they count the next time.
        """
        if seconds < LOOK_AT_CPU or not self._far:
            return 0.0, 0.0, 0.0
        before, self._cpu = self._cpu, _cpu_seconds()
        return self._cpu[0] - before[0], self._cpu[1] - before[1], self._cpu[2] - before[2]

    def _not_begun(self, call: Call) -> Done:
        body, _ = self._codec.values([], call.first)
        return Done(call.id, call.first, True, False, 0.0, (), resident_bytes(), {}, NO_COSTS, 0, body)


def _cpu_seconds() -> tuple[float, float, float]:
    """Return CPU seconds of the process and of this thread, and those this thread waited for a CPU."""
    return time.process_time(), time.thread_time(), queued_seconds()


def _never(item: Any) -> Any:
    raise AssertionError(f"called with {item!r}")
