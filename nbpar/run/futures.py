"""Single calls with a standard future each; all outstanding calls of a pool are one run."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

from nbpar.core.call_style import CallStyle, Lent
from nbpar.core.chunking import Chunker, chunker_of_calls
from nbpar.core.events import Event, ItemFailed, ItemPrinted
from nbpar.core.outcome import Part
from nbpar.core.scheduling.needs import Claim, Needs
from nbpar.core.scheduling.runstate import RunState
from nbpar.core.scheduling.windows import Assignment
from nbpar.core.source import ReadySource
from nbpar.core.text import function_name, short
from nbpar.dispatch.dispatcher import Dispatcher, Stir
from nbpar.dispatch.job import Job, Order
from nbpar.errors import WAITS_FOR_ITSELF, PoolClosedError, StoppedError
from nbpar.host.deadlines import waiting_time
from nbpar.host.error_log import call_safely
from nbpar.run.callbacks import callback_thread
from nbpar.run.notes import annotate
from nbpar.run.printing import CallOutput
from nbpar.wire.messages import Begin, Call, Load


class Group(Protocol):
    """Futures that are not done; safe from any thread."""

    def add(self, future: Future[Any]) -> None:
        """Take one in."""

    def discard(self, future: Future[Any]) -> None:
        """Let go of one, if it is there."""


class CallFuture(Future[Any]):
    """The future of `Pool.submit`; it can be canceled even while the function runs."""

    def __init__(self, calls: SubmittedCalls, call: _Submitted) -> None:
        super().__init__()
        self._calls: SubmittedCalls | None = calls
        """None when it is over, like the next."""

        self._call: _Submitted | None = call
        self._group: Group | None = None
        self._output: CallOutput | None = None
        self.name = function_name(call.function)
        """The function's name."""

    def cancel(self) -> bool:
        """Stop the call, also while it runs; False if it is done."""
        if (calls := self._calls) is None:
            return self.cancelled()
        with calls.lock:
            call = self._call
            if call is None:
                return self.cancelled()
            super().cancel()
            self.set_running_or_notify_cancel()
            self.settle(None, None)
            call.drop()  # a pending call is skipped at its turn
        if call.index is not None:
            call.batch.drop(call.index)
        return True

    def result(self, timeout: float | None = None) -> Any:
        __tracebackhide__ = True
        self._refuse_to_wait_for_oneself()
        try:
            return super().result(waiting_time(timeout))
        finally:
            self._show_output()
            del self  # its error holds this frame

    def exception(self, timeout: float | None = None) -> BaseException | None:
        self._refuse_to_wait_for_oneself()
        try:
            return super().exception(waiting_time(timeout))
        finally:
            self._show_output()

    def _show_output(self) -> None:
        if (output := self._output) is not None and self.done():
            self._output = None
            output.show()

    def _refuse_to_wait_for_oneself(self) -> None:
        if (calls := self._calls) is not None and calls.dispatcher.here:
            raise RuntimeError(WAITS_FOR_ITSELF)

    def running(self) -> bool:
        """Whether the call is running; False while it is queued, also on a worker."""
        call, calls = self._call, self._calls
        if call is None or calls is None or call.assignment is None or call.index is None:
            return False
        return calls.dispatcher.runs(call.assignment, call.index)

    def add_done_callback(self, fn: Callable[[Future[Any]], Any]) -> None:
        """Call `fn(future)` when it is done, in a thread for callbacks; immediately if it is.

        Its exceptions, `BaseException` included, are logged and do not affect other callbacks.
        """
        if not callable(fn):
            raise TypeError(f"a callback must be a function, was {short(fn)}")
        what = f"a callback of the run {self.name} failed"
        super().add_done_callback(lambda done: call_safely(lambda: fn(done), what, passes_ctrl_c=True))

    def join(self, group: Group) -> None:
        """Be one of a group, and keep it, until it is done."""
        self._group = group
        group.add(self)
        if self.done():  # it may have been just before it was put there
            self._leave_group()

    def settle(self, value: Any, error: BaseException | None, output: CallOutput | None = None) -> None:
        """Take the outcome, unless the future was cancelled; the lock of the calls is held."""
        self._output = output
        if not self.done():
            if error is None:
                self.set_result(value)
            else:
                self.set_exception(error)
        self._calls = self._call = None
        self._leave_group()

    def _leave_group(self) -> None:
        if (group := self._group) is not None:
            group.discard(self)
            self._group = None

    def _invoke_callbacks(self) -> None:
        """Call the user's callbacks in their own thread, where they may block; Future has no public hook."""
        if not self._done_callbacks:  # type: ignore[attr-defined]  # neither of them is in the stub
            return
        invoke: Callable[[], None] = super()._invoke_callbacks  # type: ignore[misc]
        if self._calls is None or self._calls.here:
            invoke()
        else:
            callback_thread.tell(invoke, f"the run {self.name}")

    def __repr__(self) -> str:
        text = super().__repr__()
        return text.replace("state=pending", "state=running") if self.running() else text


@dataclass(slots=True)
class _Shared:
    """A function as sent to workers, shared by its outstanding calls."""

    load: Load
    begin: Begin | None
    calls: int = 0

    @property
    def divisible(self) -> bool:
        """Whether several of its calls may be sent together.

        Each has its function anew, which is not to be asked for again while some of them are done.
        """
        return isinstance(self.load.function, Lent) or not self.load.function.buffers


class _Submitted:
    """A call, from `submit` to its outcome."""

    __slots__ = ("assignment", "batch", "function", "future", "index", "item", "shared")

    def __init__(self, function: Callable[..., Any], shared: _Shared, item: Any, batch: _CallStream) -> None:
        self.function: Callable[..., Any] | None = function
        self.shared = shared
        self.batch = batch
        self.item = item
        """Its arguments, until they are sent to a worker."""

        self.index: int | None = None
        """Its index among the calls sent to a worker."""

        self.assignment: Assignment | None = None

        self.future: CallFuture | None = None
        """None if it was canceled."""

    def drop(self) -> None:
        """Release the user's objects."""
        self.function = self.item = self.future = self.assignment = None


class SubmittedCalls:
    """The calls of one pool.

    All outstanding calls are items of one job, so that a call costs no more than an item of a map, whatever
    their number: short calls of one function are sent together.  The job ends with the last of them, and the
    workers are released.
    """

    def __init__(
        self, dispatcher: Dispatcher, chunker: Chunker | None = None, needs: Needs | None = None
    ) -> None:
        self.needs = needs
        """Of each call."""

        self.dispatcher = dispatcher
        self.lock = threading.RLock()  # for all state, and for every future between two states
        # its estimate carries over from one job to the next
        self.chunker = chunker or chunker_of_calls()
        self._batch: _CallStream | None = None
        self._shared: dict[bytes, _Shared] = {}
        """By digest of the function."""

    @property
    def here(self) -> bool:
        """Whether calls run in the waiting thread."""
        return self.dispatcher.blocking

    def submit(
        self,
        function: Callable[..., Any],
        load: Load,
        begin: Begin | None,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> CallFuture:
        """Submit a call; return its future.  In a serial pool it runs first.

        Raises:
            PoolClosedError: the pool is closed.
            KeyboardInterrupt: Ctrl-C came while it ran here.
        """
        future = self._put(function, load, begin, (args, kwargs))
        try:
            if self.here:
                self._drive(future)
            return future
        finally:
            del future  # the error of an item that ran in this thread holds this frame

    def leave(self, call: _Submitted) -> None:
        """Release a finished call; call with the lock held."""
        call.drop()
        shared = call.shared
        shared.calls -= 1
        if not shared.calls:
            if isinstance(shared.load.function, Lent):
                shared.load.function.take_back()
            if self._shared.get(shared.load.digest) is shared:
                del self._shared[shared.load.digest]

    def _put(self, function: Callable[..., Any], load: Load, begin: Begin | None, item: Any) -> CallFuture:
        """Queue a call."""
        with self.lock:
            batch = self._batch
            if batch is None or batch.over:
                batch = self._batch = _CallStream(self)
            call = _Submitted(function, self._share(load, begin), item, batch)
            call.future = future = CallFuture(self, call)
            try:
                told = batch.put(call)
            except PoolClosedError:
                self._batch = None
                self.leave(call)
                raise
        if not told:
            self.dispatcher.stir(batch.state, lazily=True)
        return future

    def _drive(self, future: CallFuture) -> None:
        """Run a call in this thread, with all other pending work."""
        dispatcher, name = self.dispatcher, future.name
        try:
            while not future.done():
                dispatcher.step()
        except BaseException as error:
            future.cancel()
            dispatcher.step()  # so that it is dropped before other code runs
            if type(error) is KeyboardInterrupt:
                raise StoppedError(f"{name} was stopped") from None
            raise
        finally:
            del self, future  # see `submit`

    def _share(self, load: Load, begin: Begin | None) -> _Shared:
        """Return the serialized function, shared by outstanding calls of the same function."""
        known = self._shared.get(load.digest)
        if known is not None and (begin is None or known.begin is None or known.begin[1:] != begin[1:]):
            known = None
        if known is None:
            known = self._shared[load.digest] = _Shared(load, begin)
        known.calls += 1
        return known


class _CallStream(ReadySource):
    """Source and sink of one job: calls that come while some of them are outstanding."""

    def __init__(self, calls: SubmittedCalls) -> None:
        self._calls = calls
        self._lock = calls.lock
        self._waiting: deque[_Submitted] = deque()
        self._begun: dict[int, _Submitted] = {}
        self._printed: dict[int, CallOutput] = {}
        """What calls under way have put out, in the dispatcher's thread."""

        self._next = 0
        self._told = False
        """Whether the dispatcher was woken and has not reacted yet."""

        self._ended = False
        state = RunState(
            calls.dispatcher.new_id(), self, calls.chunker, ordered=False, singly=True, forget=self.forget
        )  # fmt: skip
        if calls.needs is not None:
            stir = Stir(calls.dispatcher)
            stir.state = state
            state.claim = Claim(calls.needs, stir, each=state.chunker.concurrency > 0)
        self.state = state
        self._job: _CallsJob | None = None

    # ---- from any thread, the lock is held

    @property
    def over(self) -> bool:
        """Whether it accepts no more calls."""
        return self._ended or self.state.cancelled

    def put(self, call: _Submitted) -> bool:
        """Queue a call; return whether the dispatcher needs no wake-up.

        Raises:
            PoolClosedError: the pool is closed.
        """
        self._waiting.append(call)
        told, self._told = self._told, True
        if self._job is None:
            job = _CallsJob(
                self.state, self, _NO_LOAD, None, spread=CallStyle.CALL, fail_fast=False, batch=self
            )
            self._calls.dispatcher.start(job)
            self._job, told = job, True
        return told

    def drop(self, index: int) -> None:
        """Stop a running call."""
        if self._job is not None:
            self._calls.dispatcher.drop(self._job, index)

    # ---- source, in the dispatcher's thread

    @property
    def ended(self) -> bool:
        with self._lock:
            self._leave_cancelled()
            self._ended = not (self._waiting or self._begun)
            return self._ended

    @property
    def ready(self) -> bool:
        return bool(self._waiting)

    @property
    def remaining(self) -> int:
        return len(self._waiting)

    def take(self, limit: int, *, eager: bool) -> Sequence[Any]:  # noqa: ARG002 (what is here is ready)
        """Take calls of the same function, in the order of their submission."""
        items: list[Any] = []
        shared = None
        with self._lock:
            self._leave_cancelled()
            while self._waiting and len(items) < limit:
                call = self._waiting[0]
                if shared is None:
                    shared = call.shared
                elif call.shared is not shared or not shared.divisible:
                    break
                self._waiting.popleft()
                call.index = self._next
                self._begun[self._next] = call
                self._next += 1
                items.append(call.item)
                call.item = None
                self._leave_cancelled()
        return items

    def want(self, total: int) -> None:  # noqa: ARG002 (everything is here already)
        self._told = False  # it reacts now

    def begun(self, index: int) -> _Submitted | None:
        """Return a call that was sent to a worker, until its outcome is known."""
        return self._begun.get(index)

    # ---- sink, in the dispatcher's thread

    def deliver(self, parts: list[Part]) -> None:
        for part in parts:
            for index, value in enumerate(part.values, part.first):
                failure = part.failures.get(index)
                self._settle(index, value, None if failure is None else failure.exception)

    def forget(self, index: int) -> None:
        """Settle a canceled call, which has no outcome."""
        self._settle(index, None, None)

    def lose(self, index: int, error: BaseException) -> None:
        """Fail a call that could not be handled."""
        self._settle(index, None, error)

    def finish(self, error: BaseException | None) -> None:
        with self._lock:
            self._ended = True
            left = [*self._begun.values(), *self._waiting]
            self._begun.clear()
            self._waiting.clear()
        for call in left:
            self._end(call, None, error)

    def emit(self, event: Event) -> None:
        if type(event) is ItemFailed:
            annotate(event.failure)
        elif type(event) is ItemPrinted and (call := self._begun.get(event.piece.index)) is not None:
            output = self._printed.get(event.piece.index)
            if output is None:
                output = self._printed[event.piece.index] = CallOutput(function_name(call.function))
            output.add(event.piece)

    def _settle(self, index: int, value: Any, error: BaseException | None) -> None:
        """End a call that was sent to a worker, unless it was lost."""
        if (call := self._begun.pop(index, None)) is not None:
            self._end(call, value, error, self._printed.pop(index, None))

    def _end(
        self, call: _Submitted, value: Any, error: BaseException | None, output: CallOutput | None = None
    ) -> None:
        with self._lock:
            if call.future is not None:
                call.future.settle(value, error, output)
            self._calls.leave(call)
        if output is not None:
            callback_thread.tell(output.show, "a call that has put something out")

    def _leave_cancelled(self) -> None:
        while self._waiting and self._waiting[0].future is None:
            self._calls.leave(self._waiting.popleft())


@dataclass(eq=False, kw_only=True)
class _CallsJob(Job):
    """A job whose every item has a function of its own; those sent together have the same."""

    batch: _CallStream

    def function_of(self, index: int) -> Any:
        call = self.batch.begun(index)
        return None if call is None else call.function

    def lose(self, assignment: Assignment, error: BaseException) -> bool:
        # an answer that could not be handled, or else what has no answer yet
        answered = range(assignment.chunk.first, assignment.next)
        lost = [index for index in answered if self.batch.begun(index) is not None]
        for index in lost or assignment.unanswered:
            self.batch.lose(index, error)
        return True

    def title_of(self, assignment: Assignment) -> str:
        for index in (assignment.next, *assignment.chunk.indices):
            if (function := self.function_of(index)) is not None:
                return function_name(function)
        return "a call that was canceled"

    def order(self, assignment: Assignment) -> Order:
        for index in assignment.unanswered:
            if (call := self.batch.begun(index)) is not None:
                call.assignment = assignment
        shared = self._shared(assignment)
        run = self.state.id if shared.begin is None else shared.begin.run
        timed = self.state.chunker.timed or len(assignment.chunk.items) > 1
        return Order(shared.begin, shared.load, Call(
            assignment.id, run, shared.load.digest, 0, self.spread.value, timed,
            False, None, None, self.state.chunker.concurrency, {}, assignment.chunk.items,
        ))  # fmt: skip

    def _shared(self, assignment: Assignment) -> _Shared:
        return next(
            call.shared for index in assignment.unanswered if (call := self.batch.begun(index)) is not None
        )


_NO_LOAD = Load(b"", "", None)
