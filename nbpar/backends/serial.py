"""The caller's own thread as the only worker: breakpoints work, nothing is pickled."""

from __future__ import annotations

import os
import platform
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from nbpar.backends.base import WorkerId
from nbpar.backends.here import Deferred
from nbpar.core.spread import caller
from nbpar.wire.messages import NO_COSTS, Bye, Call, Cancel, Done, Load, Message, Missing, Output, Ready
from nbpar.worker.catching import caught
from nbpar.worker.codec import ByReference
from nbpar.worker.execution import Execution
from nbpar.worker.inside import inside
from nbpar.worker.memory import resident_bytes
from nbpar.worker.output import FollowingRecorder
from nbpar.worker.post import FUNCTIONS

WORKER = "here"


class SerialBackend:
    """Calls run inside `receive`; Ctrl-C stops them as it stops any code.

    Args:
        recorder: makes what shows the output of a run's items while they run.
    """

    in_process = True
    blocking = True

    def __init__(self, recorder: Callable[[str], FollowingRecorder] = FollowingRecorder) -> None:
        self._arrived: deque[Message] = deque()
        self._calls: deque[Call] = deque()
        self._functions: dict[bytes, Callable[..., Any]] = {}  # the latest last
        self._codec = ByReference()
        self._here = False
        self.interrupts = Deferred()
        self._make_recorder = recorder
        self._recorder: tuple[int, FollowingRecorder] | None = None
        """The run that is shown, and what shows it."""

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
            elif isinstance(message, Cancel):
                self._cancel(message.ids)

    def keep_packed(self, call: int) -> None:
        """Nothing is packed here."""

    def receive(self, timeout: float | None) -> list[tuple[WorkerId, Message]]:  # noqa: ARG002 (nothing is waited for)
        if not self._arrived and self._calls and not self.interrupts.came:
            self._run(self._calls.popleft())
        arrived = [(WORKER, message) for message in self._arrived]
        self._arrived.clear()
        return arrived

    def wake(self) -> None:
        """Nothing ever waits."""

    def interrupt(self, worker: WorkerId) -> bool:  # noqa: ARG002
        """Ctrl-C does it."""
        return False

    def kill(self, worker: WorkerId, reason: str) -> bool:  # noqa: ARG002
        """Nothing here could take its place."""
        return False

    def release(self, worker: WorkerId) -> None:  # noqa: ARG002
        self._here = False
        self._arrived.append(Bye("released"))

    def retire(self, worker: WorkerId) -> None:
        self.release(worker)

    def describe(self) -> list[dict[str, object]]:
        return [{"worker": WORKER, "host": platform.node(), "pid": os.getpid()}]

    def close(self) -> None:
        self._calls.clear()
        self._functions.clear()

    def _run(self, call: Call) -> None:
        if call.digest not in self._functions:
            self._arrived.append(Missing(call.digest, (call.id,)))
            return
        function = caller(self._functions[call.digest], call.spread)
        execution = Execution(
            function, call.items, call, call.broken,
            interrupts=self.interrupts, describe=self._codec.describe, stopped_by=KeyboardInterrupt,
        )  # fmt: skip
        over, recorder = False, self._recorder_of(call.run)
        recorder.follow(execution)
        while not over:
            with inside(whole_process=False), caught(recorder, whole_process=False):
                execution.advance()
            over = execution.finished
            if pieces := recorder.take(over=over):
                self._arrived.append(Output(call.id, pieces))
            self._arrived.append(self._done(execution))
        recorder.end_lines()
        if execution.interrupted:
            raise KeyboardInterrupt

    def _recorder_of(self, run: int) -> FollowingRecorder:
        if self._recorder is None or self._recorder[0] != run:
            self._recorder = (run, self._make_recorder(WORKER))
        return self._recorder[1]

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
