"""The caller's own thread as the only worker: breakpoints work, nothing is pickled."""

from __future__ import annotations

import queue
import signal
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING, Any

from nbpar.backends.base import WorkerId
from nbpar.core.call_style import Lent, caller
from nbpar.host.ctrl_c import may_be_ctrl_c
from nbpar.host.event_loops import no_event_loop
from nbpar.host.frames import is_own
from nbpar.host.machine import this_process
from nbpar.host.memory import resident_bytes
from nbpar.wire.messages import (
    NO_COSTS,
    Begin,
    Bye,
    Call,
    Cancel,
    Done,
    Load,
    Message,
    Missing,
    Output,
    Ready,
    Stop,
)
from nbpar.wire.pickling import Packed
from nbpar.worker.asked_waits import Describe, telling
from nbpar.worker.cleanup import ItemCleanup, Leftovers
from nbpar.worker.codec import ByReference
from nbpar.worker.execution import Execution
from nbpar.worker.mail.mailbox import FUNCTIONS
from nbpar.worker.nesting import inside
from nbpar.worker.output.recorder import FollowingRecorder, tell_strays
from nbpar.worker.output.streams import bars_here, caught
from nbpar.worker.signals import Interrupts

if TYPE_CHECKING:
    from typing_extensions import Self

    from nbpar.backends.serial_coroutines import SerialCoroutines
    from nbpar.worker.profiling.profiler import Profiler


class DeferredSigint(Interrupts):
    """Handler of SIGINT in the main thread, for the duration of a `with` block; reentrant.

    While `armed` it raises KeyboardInterrupt; otherwise it does so at the end of the block, when the
    state is consistent.

    Args:
        wake: called when a signal has arrived that does not raise at once; it must be reentrant.
    """

    def __init__(self, wake: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self._wake = wake
        self.came = False
        """Whether a signal arrived that has not raised yet."""

        self._outside: list[tuple[Any, bool]] = []
        self._struck = False

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._struck = False
            if not self._outside:
                self.came = False  # one that arrived during the end of the last block has raised there
            self._outside.append((signal.signal(signal.SIGINT, self._on_interrupt), self.armed))
            self.armed = False
        return self

    def __exit__(self, *exc_info: object) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        handler, self.armed = self._outside.pop()
        signal.signal(signal.SIGINT, handler)
        came, self.came = self.came, False
        if came and exc_info[0] is None:
            self._struck = True
            _strike_owner(handler, self)
            raise KeyboardInterrupt

    def made(self, error: BaseException) -> bool:
        """Whether the user's Ctrl-C, and no `raise KeyboardInterrupt` of the code, has made an exception.

        What code makes of a Ctrl-C that has struck it (`raise KeyboardInterrupt from error`) counts as one.
        """
        return isinstance(error, KeyboardInterrupt) and (self._struck or may_be_ctrl_c(error))

    def _strike(self) -> None:
        """Note that Ctrl-C has struck the user's code, here and in each block of which this one is a part."""
        self._struck, self.armed = True, False
        for handler, _ in self._outside:
            _strike_owner(handler, self)

    def _on_interrupt(self, number: int, frame: FrameType | None) -> None:
        if self.instead is not None:
            self.came = True
            self.instead()
            return
        again = self._struck and frame is not None and not is_own(frame)  # user code has swallowed it
        if self.armed or again:
            self._strike()
            raise KeyboardInterrupt
        if self._shielded:
            super()._on_interrupt(number, frame)
        else:
            self.came = True
            self._wake()


def _strike_owner(handler: Any, inner: DeferredSigint) -> None:
    """Strike another pool's block, in an item of which this one is."""
    if isinstance(outer := getattr(handler, "__self__", None), DeferredSigint) and outer is not inner:
        outer._strike()  # noqa: SLF001 (of the same class)


WORKER = "here"


class SerialBackend:
    """Calls run inside `receive`; Ctrl-C stops them like any code.

    Args:
        recorder: makes the object that shows the output of a run's items while they run.
    """

    in_process = True
    blocking = True

    def __init__(self, recorder: Callable[[str], FollowingRecorder] = FollowingRecorder) -> None:
        self._arrived: deque[Message] = deque()
        self._calls: deque[Call] = deque()
        self._functions: dict[bytes, Lent] = {}  # most recently used last
        self._codec = ByReference()
        self._here = False
        self.interrupts = DeferredSigint(self.wake)
        self._make_recorder = recorder
        self._begun: int | None = None
        """The run whose items were run last."""

        self._settings: dict[int, Begin] = {}
        """Of the latest runs that have some."""

        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()
        """Ends a wait; other threads and the handler of Ctrl-C ring it, at any step."""

        self._coroutines: SerialCoroutines | None = None
        self._profiler: Profiler | None = None
        """Samples items; None before the first profiled run."""

    def acquire(self) -> None:
        if not self._here:
            self._here = True
            self._arrived.append(Ready(self.describe()[0]))

    def coming(self) -> Sequence[WorkerId]:
        return ()

    def send(self, worker: WorkerId, messages: Sequence[Message]) -> None:  # noqa: ARG002 (there is one)
        for message in messages:
            if isinstance(message, Load):
                self._functions[message.digest] = message.function
                if len(self._functions) > FUNCTIONS:
                    del self._functions[next(iter(self._functions))]
            elif isinstance(message, Call):
                self._calls.append(message)
            elif isinstance(message, (Cancel, Stop)):
                self._cancel(message.ids)
                if isinstance(message, Stop) and self._coroutines is not None:
                    self._arrived += self._coroutines.stop(message.ids)
            elif isinstance(message, Begin):
                self._settings[message.run] = message
                if len(self._settings) > FUNCTIONS:
                    del self._settings[next(iter(self._settings))]

    def keep_packed(self, call: int) -> None:
        """Do nothing: no values are packed."""

    def take_pickled(self) -> Sequence[tuple[int, Packed]]:
        return ()

    def in_transit(self, worker: WorkerId) -> tuple[int, int]:  # noqa: ARG002 (a queue takes all at once)
        return 0, 0

    def receive(self, timeout: float | None) -> list[tuple[WorkerId, Message]]:
        if not self._arrived and not self.interrupts.came:
            if self._calls or (self._coroutines is not None and self._coroutines.busy):
                self._advance(timeout)
            elif timeout:
                self._wait(timeout)
        return self._take_arrived()  # no variable: an item's error holds this frame

    def wake(self) -> None:
        self._bell.put(None)

    def _wait(self, timeout: float) -> None:
        """Wait until the time is over, or the bell rings."""
        with suppress(queue.Empty):
            self._bell.get(timeout=timeout)
            while True:
                self._bell.get_nowait()

    def interrupt(self, worker: WorkerId, *, skip: bool = False) -> bool:  # noqa: ARG002
        """Do nothing: Ctrl-C stops the item."""
        return False

    def kill(self, worker: WorkerId, reason: str) -> bool:  # noqa: ARG002
        """Do nothing: there is no replacement."""
        return False

    def release(self, worker: WorkerId) -> None:  # noqa: ARG002
        self._here = False
        self._arrived.append(Bye("released"))

    def retire(self, worker: WorkerId) -> None:
        self.release(worker)

    def describe(self) -> list[dict[str, object]]:
        return [{"worker": WORKER, **this_process()}]

    def close(self) -> None:
        self._calls.clear()
        self._functions.clear()
        if self._coroutines is not None:
            self._coroutines.close()
            self._coroutines = None
        if self._profiler is not None:
            self._profiler.close()

    def _advance(self, timeout: float | None) -> None:
        """Run a call of an ordinary function; or coroutines, until one has ended or the time is over."""
        coroutines = self._coroutines
        while self._calls and self._calls[0].concurrency:
            call = self._calls.popleft()
            if (function := self._function(call)) is not None:
                if coroutines is None:
                    from nbpar.backends.serial_coroutines import SerialCoroutines

                    coroutines = self._coroutines = SerialCoroutines(self.interrupts, self._make_recorder)
                coroutines.begin(
                    call,
                    function,
                    self._describe(call),
                    self._settings.get(call.run),
                    self._profiler_of(call),
                )
        if self._calls:
            self._run(self._calls.popleft())
        elif coroutines is not None and coroutines.busy:
            self._arrived += coroutines.advance(timeout)

    def _describe(self, call: Call) -> Describe:
        return telling(self._codec.describe, self._settings.get(call.run))

    def _profiler_of(self, call: Call) -> Profiler | None:
        """Return what profiles the items of a call; None if its run is not profiled."""
        settings = self._settings.get(call.run)
        if settings is None or not settings.profile:
            return None
        if self._profiler is None:
            from nbpar.worker.profiling.profiler import Profiler

            self._profiler = Profiler()
        return self._profiler

    def _function(self, call: Call) -> Callable[[Any], Any] | None:
        """Return the function of a call; None if it must be sent again."""
        lent = self._functions.get(call.digest)
        if lent is None or lent.fn is None:
            self._arrived.append(Missing(call.digest, (call.id,)))
            return None
        return caller(lent.fn, call.spread)

    def _take_arrived(self) -> list[tuple[WorkerId, Message]]:
        arrived = [(WORKER, message) for message in self._arrived]
        self._arrived.clear()
        return arrived

    def _run(self, call: Call) -> None:
        if (function := self._function(call)) is None:
            return
        if (profiler := self._profiler_of(call)) is not None:
            function = profiler.measured(function, call, len(call.items))
        first_call = self._begin(call.run)
        recorder, look = self._recorder, self._look
        execution = Execution(
            function, call.items, call, call.broken, interrupts=self.interrupts, look=look,
            describe=self._describe(call), first_call=first_call, by_reference=True,
        )  # fmt: skip
        over = False
        recorder.follow(execution)
        while not over:
            with no_event_loop(), inside(whole_process=False), caught(recorder, whole_process=False):
                if profiler is None:
                    execution.advance()
                else:
                    profiler.advance(execution, call.run)
            strays, execution.strays = execution.strays, ()
            tell_strays(strays, recorder)
            over = execution.finished
            if profiler is not None:
                self._arrived += profiler.news(call.run, call.id, idle=over and not self._calls)
            if pieces := recorder.take(over=over):
                self._arrived.append(Output(call.id, pieces))
            self._arrived.append(self._done(execution))
        recorder.end_lines()
        recorder.follow(None)
        execution.close()
        if execution.interrupted:
            raise KeyboardInterrupt

    def _begin(self, run: int) -> bool:
        """Set up output and cleanup of a run's items; return whether it is another run."""
        if self._begun == run:
            return False
        self._begun = run
        self._recorder = self._make_recorder(WORKER)
        self._recorder.bars, self._recorder.outer_item = bars_here() or (None, None)
        with no_event_loop():
            self._look = ItemCleanup(Leftovers(whole_process=False))
        return True

    def _cancel(self, ids: tuple[int, ...]) -> None:
        for call in [call for call in self._calls if call.id in ids]:
            self._calls.remove(call)
            self._arrived.append(
                Done(call.id, call.first, True, False, 0.0, (), resident_bytes(), {}, NO_COSTS, 0, [])
            )

    def _done(self, execution: Execution) -> Done:
        first, values, faults, seconds, each = execution.take()
        return Done(
            execution.call_id, first, execution.finished, execution.interrupted, seconds, each,
            resident_bytes(), faults, NO_COSTS, 0, values,
        )  # fmt: skip
