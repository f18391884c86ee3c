"""Items of async functions in the caller's own thread: several wait at once, while the caller waits for them.

Between two waits their event loop stands still.
"""

from __future__ import annotations

import _thread
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

from nbpar.host.event_loops import no_event_loop
from nbpar.host.memory import resident_bytes
from nbpar.wire.messages import NO_COSTS, Begin, Begun, Call, Message, Output
from nbpar.worker.asked_waits import Describe
from nbpar.worker.codec import ByReference
from nbpar.worker.coroutines.item import CoroutineCall, CoroutineItem
from nbpar.worker.coroutines.profiled import profile, profiled
from nbpar.worker.coroutines.runner import LASTS, CoroutineRunner
from nbpar.worker.nesting import inside
from nbpar.worker.output.coroutines import CurrentCoroutine
from nbpar.worker.output.recorder import FollowingRecorder, tell_strays
from nbpar.worker.output.streams import caught
from nbpar.worker.profiling.profiler import Profiler
from nbpar.worker.signals import ALARM_AGAIN, Interrupts, can_limit


class SerialCoroutines:
    """The coroutines of a serial pool.

    Args:
        interrupts: notes Ctrl-C while they run.
        recorder: makes what shows the output of a run's items.
    """

    def __init__(self, interrupts: Interrupts, recorder: Callable[[str], FollowingRecorder]) -> None:
        self._make_recorder = recorder
        self._recorders: dict[int, FollowingRecorder] = {}
        """By run, of those with items."""

        with no_event_loop():
            self._runner = CoroutineRunner(
                describe=ByReference().describe, interrupts=interrupts, recorder=self._recorder,
                is_unwanted=lambda _: bool(getattr(interrupts, "came", False)),
            )  # fmt: skip
        self._runner.tell_begun = self._tell_begun
        self._runner.when_early = self._strike_later
        self._turning = threading.Lock()
        """Held while a signal is sent to the step that lasts, so that it cannot arrive after that."""

        self._profiler: Profiler | None = None
        """Samples the coroutines of profiled runs."""

        self._begun: list[Message] = []
        """Messages about items that last."""

    @property
    def busy(self) -> bool:
        """Whether there are items to run, or answers to give."""
        return self._runner.busy or bool(self._runner.finished)

    def begin(
        self,
        call: Call,
        function: Callable[[Any], Any],
        describe: Describe,
        settings: Begin | None,
        profiler: Profiler | None,
    ) -> None:
        """Take a call; its items begin with the next `advance`, as slots become free."""
        made = CoroutineCall(call, function, list(call.items), dict(call.broken), describe, by_reference=True)
        made.begun_after = None if settings is None else settings.begun_after
        if profiler is not None:
            self._profiler = profiler
            profile(made, self._runner, profiler)
        with self._inside(call.run):
            self._runner.add(made)

    def advance(self, timeout: float | None) -> list[Message]:
        """Run items until one has ended, Ctrl-C came or the time is over; return the messages about them."""
        if not self._runner.finished:
            run = next(iter(self._runner.calls.values())).call.run
            loop = self._runner.loop
            timer = None if timeout is None else loop.call_later(timeout, loop.stop)
            with self._inside(run), self._limited():
                self._runner.turn()
            with self._turning:
                pass
            strays, self._runner.strays = self._runner.strays, []
            tell_strays(strays, self._recorder_of(run))
            if timer is not None:
                timer.cancel()
        return self._answers()

    def _strike_later(self, woke: float) -> None:
        """Let Ctrl-C strike the step that has just begun, if it lasts: it is pressed only once."""
        _thread.start_new_thread(self._strike_if_it_lasts, (woke,))  # no lock is taken, in a signal's handler

    def _strike_if_it_lasts(self, woke: float) -> None:
        time.sleep(LASTS)
        with self._turning:
            if self._runner.loop.times.woke == woke:
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    def _tell_begun(self, item: CoroutineItem, age: float) -> None:
        self._begun.append(Begun(item.call.call.id, item.place + 1, age))
        self._runner.loop.stop()

    def stop(self, ids: Iterable[int]) -> list[Message]:
        """Cancel calls, and wait for the short time that this takes."""
        ids = [number for number in ids if number in self._runner.calls]
        if not ids:
            return []
        with self._inside(self._runner.calls[ids[0]].call.run):
            self._runner.stop(ids)
            while any(number in self._runner.calls for number in ids):
                self._runner.turn()
        return self._answers()

    def close(self) -> None:
        """End all coroutines, and the event loop."""
        with no_event_loop():
            self._runner.close()

    def _inside(self, run: int) -> AbstractContextManager[Any]:
        stack = ExitStack()
        stack.enter_context(no_event_loop())
        stack.enter_context(inside(whole_process=False))
        stack.enter_context(caught(self._recorder_of(run), whole_process=False))
        return stack

    @contextmanager
    def _limited(self) -> Iterator[None]:
        """Strike steps that block the loop beyond the time limit of their item, where signals can."""
        limits = [limit for call in self._runner.calls.values() if (limit := call.call.timeout) is not None]
        if not limits or not can_limit():
            yield
            return
        handler = signal.signal(signal.SIGALRM, lambda *_: self._runner.strike())
        before = signal.setitimer(signal.ITIMER_REAL, min(limits) + LASTS, ALARM_AGAIN)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, *before)
            signal.signal(signal.SIGALRM, handler)

    def _recorder(self, call: CoroutineCall) -> FollowingRecorder:
        return self._recorder_of(call.call.run)

    def _recorder_of(self, run: int) -> FollowingRecorder:
        recorder = self._recorders.get(run)
        if recorder is None:
            recorder = self._recorders[run] = self._make_recorder("here")
            recorder.follow(CurrentCoroutine())
        return recorder

    def _answers(self) -> list[Message]:
        finished, seconds = self._runner.take_finished()
        messages, self._begun = self._begun, []
        memory = resident_bytes() if finished else 0
        share = seconds / max(sum(len(call.values) for call in finished), 1)
        left = {call.call.run for call in self._runner.calls.values()}
        for call in finished:
            run = call.call.run
            if pieces := self._recorder_of(run).take(over=run not in left):
                messages.append(Output(call.call.id, pieces))
            messages += profiled(call, self._profiler, idle=not self._runner.busy)
            messages.append(call.done(call.answered, share, memory, NO_COSTS, {}))
        for run in self._recorders.keys() - left:
            self._recorders.pop(run).end_lines()
        return messages
