"""Serve calls of async functions in a worker loop: mail comes in and answers go out while coroutines run.

While items are under way a thread reads the mail, as any thread of a worker may (`mailbox.py`), and wakes
the event loop.  Calls of ordinary functions run between two turns of the event loop.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from nbpar.host.memory import resident_bytes
from nbpar.wire.messages import NO_COSTS, Begun, Call, Done, Message, Open, Output, Running
from nbpar.worker.codec import Codec
from nbpar.worker.coroutines.item import CoroutineCall, CoroutineItem
from nbpar.worker.coroutines.profiled import profile, profiled
from nbpar.worker.coroutines.runner import CoroutineRunner
from nbpar.worker.coroutines.watchdog import Watchdog
from nbpar.worker.mail.mailbox import Mailbox
from nbpar.worker.output.bars import InnerBars
from nbpar.worker.output.coroutines import CallRecorder
from nbpar.worker.output.plain import plain_stray
from nbpar.worker.output.recorder import DELAY, NOTHING, OutputRecorder, Pieces
from nbpar.worker.profiling.profiler import Profiler
from nbpar.worker.signals import Interrupts

GATHER = 0.005
"""Maximal seconds that the outcome of an item waits for others, to be sent together."""


class WorkerSide(NamedTuple):
    """What the service uses of its worker loop."""

    mailbox: Mailbox
    codec: Codec
    interrupts: Interrupts
    far: bool
    """Whether the worker is a process of its own, which its client can kill."""

    bars: InnerBars
    """Where progress bars of items are noted."""

    send_late: Callable[..., None] | None
    """Sends output of items that are over."""

    enter_run: Callable[[int], None]
    """Prepares the codec for values of a run."""

    after_items: Callable[[], None]
    """Collects output that bypassed Python's streams, and clears leftovers."""

    costs: Callable[[float], tuple[float, float, float]]
    """Returns the CPU seconds since the last call, given seconds of work."""


class CoroutineService:
    """The coroutines of one worker loop; the loop's own thread alone uses it, but for `watch` and `note`."""

    def __init__(self, side: WorkerSide) -> None:
        self._side = side
        self._mailbox = side.mailbox
        self._runner = CoroutineRunner(
            describe=side.codec.describe, interrupts=side.interrupts, recorder=self._recorder,
            is_unwanted=self._is_unwanted, unstoppable=self._leave_to_client,
        )  # fmt: skip
        self._runner.when_finished = self._answer_soon
        self._runner.tell_begun = self._tell_begun
        self._loop = self._runner.loop
        self._watchdog = Watchdog(self._runner, side.interrupts, self._mailbox)
        self._recorders: dict[int, CallRecorder] = {}
        """By call, of those under way."""

        self._printed: dict[int, CallRecorder] = {}
        """By call, those with something to take."""

        self._told = False
        self._flusher: Any = None
        self._reading = threading.Event()
        """Whether the thread reads the mail."""

        self._profiler: Profiler | None = None
        """Samples the coroutines of profiled runs."""

        self._reader: threading.Thread | None = None
        self._closed = False

    # ---- for the worker loop

    def begin(self, call: CoroutineCall, profiler: Profiler | None = None) -> None:
        """Take a call; its items begin as slots become free, and are profiled if there is a profiler."""
        if profiler is not None:
            self._profiler = profiler
            profile(call, self._runner, profiler)
        self._runner.add(call)
        if call.call.id in self._mailbox.stopped:  # that message has overtaken the call
            self._runner.stop([call.call.id])

    def next_call(self) -> Call | Open | None:
        """Return the next call, and run coroutines until there is one.  None: the worker loop must end."""
        while self._runner.alive or self._runner.finished:
            if (call := self._mailbox.next_call(wait=False)) is not None or self._mailbox.reason:
                return call
            self._read_aside()
            self._runner.stop(self._mailbox.take_stopped())
            if not self._mailbox.has_work:
                self._runner.turn()
            if not self._runner.busy or self._runner.strays:
                self._answer()
        self._read_here()
        return self._mailbox.next_call()

    def watch(self) -> None:
        """Look for steps that hold the others up; called often, in the attendant's thread."""
        self._watchdog.look()

    def note(self, stream: str, text: str) -> bool:
        """Record output that bypassed Python's streams, of the item if only one is under way."""
        try:
            running = list(self._runner.running)
        except RuntimeError:  # it changed in the loop's thread
            return False
        if not running:
            return False
        item = running[0]
        recorder = item.output.recorder
        if recorder is None:
            return False
        recorder.note(stream, text, item.index if len(running) == 1 else NOTHING)
        return True

    def close(self) -> None:
        """End all coroutines, and the event loop."""
        self._closed = True
        self._mailbox.notified = None
        self._read_here()
        self._reading.set()
        self._runner.when_finished = lambda: None
        self._runner.close()

    # ---- mail

    def _read_aside(self) -> None:
        """Let a thread read the mail from now on."""
        if self._reading.is_set():
            return
        if self._reader is None:
            self._reader = threading.Thread(target=self._read, name="nbpar mail", daemon=True)
            self._reader.start()
        self._mailbox.notified = self._runner.wake
        self._reading.set()

    def _read_here(self) -> None:
        if self._reading.is_set():
            self._reading.clear()
            self._mailbox.notified = None
            self._mailbox.notify()

    def _read(self) -> None:
        while True:
            self._reading.wait()
            if self._closed:
                return
            self._mailbox.read_until(lambda: not self._reading.is_set())
            self._runner.wake()
            if self._mailbox.reason:
                return

    def _is_unwanted(self, call: int) -> bool:
        return bool(self._mailbox.reason) or call in self._mailbox.stopped

    # ---- answers

    def _answer_soon(self) -> None:
        """Send an answer together with those that come within a moment."""
        if not self._runner.busy:
            self._loop.stop()
        elif self._flusher is None:
            self._flusher = self._loop.call_later(GATHER, self._answer)

    def _answer(self) -> None:
        if self._flusher is not None:
            self._flusher.cancel()
            self._flusher = None
        self._side.after_items()
        finished, seconds = self._runner.take_finished()
        items = sum(len(call.values) for call in finished)
        share, costs = seconds / max(items, 1), self._side.costs(seconds) if items else NO_COSTS[:3]
        messages: list[Message] = []
        memory = resident_bytes() if finished else 0
        for call in finished:
            messages += self._outputs({call.call.id: self._recorders.pop(call.call.id, None)}, over=True)
            self._printed.pop(call.call.id, None)
            messages += profiled(call, self._profiler, idle=not self._runner.busy)
            messages.append(self._done(call, share, costs, memory))
            costs = (0.0, 0.0, 0.0)
        printed, self._printed, self._told = self._printed, {}, False
        messages += self._outputs(printed)
        if self._runner.strays and (call_id := next(iter(self._runner.calls), None)) is not None:
            messages.append(Output(call_id, self._stray_pieces()))
        if messages:
            self._mailbox.send(*messages)

    def _done(
        self, call: CoroutineCall, share: float, costs: tuple[float, float, float], memory: int
    ) -> Done:
        """Return the answer of a call."""
        self._side.enter_run(call.call.run)
        began = time.perf_counter()
        body, unsendable = self._side.codec.values(call.answered, call.call.first)
        packing = time.perf_counter() - began
        return call.done(body, share, memory, (*costs, packing, 0.0), unsendable)

    # ---- output

    def _recorder(self, call: CoroutineCall) -> OutputRecorder:
        number = call.call.id
        recorder = self._recorders.get(number)
        if recorder is None:
            recorder = CallRecorder(
                partial(self._note_output, number), far=self._side.far, send_late=self._side.send_late
            )
            recorder.bars = self._side.bars
            self._recorders[number] = recorder
        return recorder

    def _note_output(self, call: int) -> None:
        """Send the output of an item that goes on, after a moment; called in any thread."""
        if (recorder := self._recorders.get(call)) is None:
            return
        self._printed[call] = recorder
        if not self._told:
            self._told = True
            self._loop.call_soon_threadsafe(self._loop.call_later, DELAY, self._answer)

    def _outputs(self, recorders: dict[int, Any], *, over: bool = False) -> list[Message]:
        taken = [
            (call, recorder.take(over=over)) for call, recorder in recorders.items() if recorder is not None
        ]
        return [Output(call, pieces) for call, pieces in taken if pieces]

    def _stray_pieces(self) -> Pieces:
        strays, self._runner.strays = self._runner.strays, []
        return tuple((NOTHING, "warning", plain_stray(fault)) for fault in strays)

    # ---- items that last

    def _tell_begun(self, item: CoroutineItem, age: float) -> None:
        self._mailbox.send(Begun(item.call.call.id, item.place + 1, age))

    def _leave_to_client(self, item: CoroutineItem) -> bool:
        """Whether the client ends an item by killing this worker."""
        if self._side.far and item.overdue:
            self._mailbox.send(Running(item.call.call.id, True))
        return self._side.far
