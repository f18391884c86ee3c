"""Run items of async functions: up to `concurrency` of each run at once, in one event loop.

The loop runs in the thread that made it, and only while `turn` is called: between two turns that thread
runs items of ordinary functions.  Each item is a task in a context of its own.  It ends with a value or an
exception, by its time limit, or without an outcome because it was stopped.

Ctrl-C, and signals that stop or limit an item, never raise in the loop's own code, where a task would lose
its wake-up: a handler notes them and wakes the loop, and raises only in a step that lasts, of an item that
must end.
"""

from __future__ import annotations

import asyncio
import contextvars
import ctypes
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from nbpar.errors import ItemTimeoutError
from nbpar.wire.faults import Fault
from nbpar.worker.coroutines.event_loop import CoroutineLoop
from nbpar.worker.coroutines.item import CoroutineCall, CoroutineItem, _clock, run
from nbpar.worker.initializer import forget, make_known
from nbpar.worker.output.coroutines import CoroutineOutput, output_of_this_coroutine
from nbpar.worker.output.recorder import ItemId, OutputRecorder
from nbpar.worker.profiling.peaks import peak_memory
from nbpar.worker.seeding import give_stream
from nbpar.worker.signals import Interrupted, Interrupts, Overdue

LASTS = 0.1
"""Seconds of a step from which a signal raises in it."""

PRESS_AGAIN = {"stopped": (0.1, 0.07), "overdue": (0.2, 0.2)}
"""Seconds after which an item is canceled once more: one that was stopped, one whose time is over; and
those until its coroutine is closed after that."""

LEAVING = 5.0
"""Seconds for initializers' context managers to be left."""

GRACE = 0.25
"""Seconds for what coroutines have left behind to end, at the end of the loop."""


class CoroutineRunner:
    """The coroutines of one worker.  All methods but `wake` and `is_stuck` belong to its thread.

    Args:
        describe: serializes an exception that belongs to no item.
        interrupts: whose handler of SIGINT calls the runner's while it runs the loop.
        recorder: returns the recorder of a call's output.
        is_unwanted: whether a call that runs was stopped, as known at the time of a signal; any thread.
        unstoppable: called with an item that does not end; it returns whether its outcome is left open.
    """

    def __init__(
        self,
        *,
        describe: Callable[[BaseException], Fault],
        interrupts: Interrupts,
        recorder: Callable[[CoroutineCall], OutputRecorder],
        is_unwanted: Callable[[int], bool] = lambda _: False,
        unstoppable: Callable[[CoroutineItem], bool] = lambda _: False,
    ) -> None:
        self.loop = CoroutineLoop()
        self.calls: dict[int, CoroutineCall] = {}
        """Those without an answer."""

        self.running: set[CoroutineItem] = set()
        self.finished: deque[CoroutineCall] = deque()
        """Calls all of whose items have ended."""

        self.strays: list[Fault] = []
        """Exceptions that belong to no item: they left the loop."""

        self.when_finished: Callable[[], None] = self.loop.stop
        """Called, inside the loop, when a call is finished."""

        self.tell_begun: Callable[[CoroutineItem, float], None] = lambda *_: None
        """Called there with an item that lasts, and for how long it has, where the client wants that."""

        self.when_early: Callable[[float], None] = lambda _: None
        """Called in a handler with the start of a step that has not lasted long enough to be struck."""

        self._describe = describe
        self._interrupts = interrupts
        self._recorder = recorder
        self._is_unwanted = is_unwanted
        self._unstoppable = unstoppable
        self._waiting: dict[int, deque[tuple[CoroutineCall, int]]] = {}
        """By run: items that wait for a slot."""

        self._active: dict[int, int] = {}
        """By run: number of items under way."""

        self._context = contextvars.copy_context()
        self._pressed: set[int] = set()
        """Calls whose items were told to end."""

        self._held: list[tuple[asyncio.Task[None], asyncio.Event]] = []
        """Tasks that have entered context managers, each with what lets it leave."""

        self._counted = 0.0
        """Seconds of the loop that `take_finished` has returned."""

        self._stopping = False
        self.loop.set_exception_handler(self._handle)

    # ---- calls

    @property
    def busy(self) -> bool:
        """Whether there are items to run, or answers to give."""
        return bool(self.calls)

    @property
    def alive(self) -> bool:
        """Whether tasks are left that run on while no item does, as the reader of a connection."""
        return bool(self.calls) or bool(asyncio.all_tasks(self.loop))

    def add(self, call: CoroutineCall) -> None:
        """Take a call; its items begin as slots become free."""
        if call.call.id in self.calls:
            return
        self.calls[call.call.id] = call
        waiting = self._waiting.setdefault(call.call.run, deque())
        for place in range(len(call.items)):
            if place in call.faults:
                call.open -= 1
            else:
                waiting.append((call, place))
        if not call.open:
            self._finish(call)
        self._fill(call.call.run)

    def take_finished(self) -> tuple[list[CoroutineCall], float]:
        """Return the finished calls, and for how many seconds the loop was busy since the last time."""
        finished = list(self.finished)
        self.finished.clear()
        busy = self.loop.times.until_now
        seconds, self._counted = max(busy - self._counted, 0.0), busy
        return finished, seconds

    def stop(self, ids: Iterable[int]) -> None:
        """Cancel the items of calls; those that have not begun have no outcome."""
        for number in ids:
            call = self.calls.get(number)
            if call is None or not call.open or number in self._pressed:
                continue
            self._pressed.add(number)
            call.stopped = True
            waiting = self._waiting.get(call.call.run, deque())
            for entry in [entry for entry in waiting if entry[0] is call]:
                waiting.remove(entry)
                call.unanswered.add(entry[1])
                call.open -= 1
            for item in [item for item in self.running if item.call is call]:
                self._press(item)
            if not call.open:
                self._finish(call)

    # ---- the loop

    def turn(self) -> None:
        """Run the event loop until it is stopped: by `wake`, or because a call is finished."""
        interrupts = self._interrupts
        interrupts.instead = self._on_signal
        try:
            self.loop.run()
        except BaseException as error:  # noqa: BLE001 (of a subtask, or of a callback of the user's)
            self.strays.append(self._describe(error))
            self._end_struck()
        finally:
            interrupts.instead = None

    def wake(self) -> None:
        """Let `turn` return; thread-safe, and for handlers of signals."""
        with suppress(RuntimeError):  # it is closed
            self.loop.call_soon_threadsafe(self.loop.stop)

    def close(self) -> None:
        """Cancel everything, and close the loop: without a sound."""
        self.stop(list(self.calls))
        self._leave_managers()
        self._stopping = True
        deadline = self.loop.time() + GRACE
        while (left := asyncio.all_tasks(self.loop)) and self.loop.time() < deadline:
            for task in left:
                task.cancel()
            self.loop.call_later(0.02, self.loop.stop)
            self.turn()
        for task in asyncio.all_tasks(self.loop):
            _keep_for_good(task)
        if not asyncio.all_tasks(self.loop):
            self._shut_down()

    async def enter(self, manager: Any) -> Any:
        """Enter a context manager in a task that also leaves it, which anyio's task groups require."""
        entered, leave = self.loop.create_future(), asyncio.Event()
        task = self.loop.create_task(_hold(manager, entered, leave))
        try:
            value = await entered
        except BaseException:
            task.cancel()
            raise
        self._held.append((task, leave))
        return value

    def keep(self, value: Any) -> None:
        """Let items find the value of an initializer."""
        make_known(value, self._context)

    def _leave_managers(self) -> None:
        forget()
        for _, leave in self._held:
            leave.set()
        deadline = self.loop.time() + LEAVING
        while (left := [task for task, _ in self._held if not task.done()]) and self.loop.time() < deadline:
            left[0].add_done_callback(lambda _: self.loop.stop())
            self.loop.call_later(0.05, self.loop.stop)
            self.turn()
        for task, _ in self._held:
            if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                self._handle(self.loop, {"message": "leaving an initializer failed", "exception": error})
        self._held.clear()

    def _shut_down(self) -> None:
        ending = self.loop.create_task(self.loop.shutdown_asyncgens())
        ending.add_done_callback(lambda _: self.loop.stop())
        self.loop.call_later(GRACE, self.loop.stop)
        self.turn()
        if not ending.done():
            _keep_for_good(ending)
            return
        with suppress(Exception):  # a transport of the user's may refuse
            self.loop.close()

    # ---- items

    def _fill(self, run: int) -> None:
        waiting = self._waiting.get(run)
        while waiting and self._active.get(run, 0) < waiting[0][0].call.concurrency:
            self._begin(*waiting.popleft())
        if waiting is not None and not waiting and not self._active.get(run, 0):
            self._waiting.pop(run, None)
            self._active.pop(run, None)

    def _begin(self, call: CoroutineCall, place: int) -> None:
        message = call.call
        self._active[message.run] = self._active.get(message.run, 0) + 1
        which = ItemId.of(message, message.first + place)
        item = CoroutineItem(call, place, CoroutineOutput(self._recorder(call), which))
        if call.peaks is not None:
            item.span = peak_memory.begin()
        self.running.add(item)
        self._context.copy().run(self._start, item)

    def _start(self, item: CoroutineItem) -> None:
        """Make an item's task, inside the context that it inherits."""
        message = item.call.call
        output_of_this_coroutine.set(item.output)
        if message.seed is not None:
            give_stream(message.seed, item.index)
        item.coroutine = run(item, self)
        item.task = self.loop.create_task(item.coroutine)
        item.task.add_done_callback(lambda _: self._ended(item))
        if (after := item.call.begun_after) is not None:
            item.begun_timer = self.loop.call_later(after, self._tell_begun, item)
        if message.timeout is not None:
            item.limit = self.loop.call_later(message.timeout, self._expire, item)

    def _tell_begun(self, item: CoroutineItem) -> None:
        """Tell that an item has begun, when it has lasted long enough since."""
        after, age = item.call.begun_after or 0.0, _clock() - item.begun
        if not item.started or age < after:
            item.begun_timer = self.loop.call_later(max(after - age, 0.0), self._tell_begun, item)
        else:
            self.tell_begun(item, age)

    def end(self, item: CoroutineItem, value: Any, error: BaseException | None) -> None:
        """Record the end of an item; called once by its coroutine."""
        if item.over:
            return
        item.over = True
        call, place = item.call, item.place
        if item.limit is not None:
            item.limit.cancel()
        if item.begun_timer is not None:
            item.begun_timer.cancel()
        call.each[place] = _clock() - item.begun
        if item.span is not None and call.peaks is not None:
            call.peaks[place] = peak_memory.end(item.span)
        if item.overdue:
            call.faults[place] = call.describe(_timeout(item, error, swallows=item.pressed > 2))
        elif call.stopped and error is not None:
            call.unanswered.add(place)
        elif error is not None:
            call.faults[place] = call.describe(error)
        else:
            call.keep(place, value)
        self._leave(item)

    def _ended(self, item: CoroutineItem) -> None:
        """Record the end of an item whose task could not: it was canceled before it began, or in `end`."""
        if item in self.running:
            item.over = False
            self.end(item, None, asyncio.CancelledError())

    def _leave(self, item: CoroutineItem) -> None:
        call = item.call
        item.output.over = True
        self.running.discard(item)
        self._active[call.call.run] -= 1
        call.items[item.place] = None
        call.open -= 1
        if not call.open:
            self._finish(call)
        self._fill(call.call.run)

    def _finish(self, call: CoroutineCall) -> None:
        self.calls.pop(call.call.id, None)
        self._pressed.discard(call.call.id)
        self.finished.append(call)
        self.when_finished()

    # ---- items that must end

    def _expire(self, item: CoroutineItem) -> None:
        """End an item whose time is over; what another's step has taken from it does not count."""
        assert item.limit is not None
        if (lost := self.loop.times.lasted) > LASTS and not item.overdue:
            item.limit = self.loop.call_later(lost, self._expire, item)
        else:
            item.overdue = True
            self._press(item)

    def _press(self, item: CoroutineItem) -> None:
        """Tell an item to end: first kindly, then by closing its coroutine; at last it is let go."""
        if item.over or item.task is None:
            return
        if not item.started:  # the first step of its task will raise outside of its code
            item.task.cancel()
            self.end(item, None, asyncio.CancelledError())
            return
        item.pressed += 1
        again, close = PRESS_AGAIN["overdue" if item.overdue else "stopped"]
        if item.limit is not None:
            item.limit.cancel()
        if item.pressed <= 2:
            item.task.cancel()
            item.limit = self.loop.call_later(again if item.pressed == 1 else close, self._press, item)
        elif item.pressed == 3:
            if _closed(item):  # its task has not heard of it, and fails when it does
                item.task.add_done_callback(_retrieve)
                item.task.cancel()
            else:
                item.limit = self.loop.call_later(close, self._press, item)
        elif not self._unstoppable(item):
            self._let_go(item)

    def _let_go(self, item: CoroutineItem) -> None:
        """Give an item its end although its coroutine goes on."""
        assert item.task is not None
        _keep_for_good(item.task)
        self.end(item, None, asyncio.CancelledError())

    def _on_signal(self) -> None:
        """Handle SIGINT while the loop runs."""
        self.wake()
        self.strike()
        if (woke := self.loop.times.woke) is not None and _clock() - woke < LASTS:
            self.when_early(woke)

    def strike(self) -> None:
        """Raise in a step that lasts, of an item that must end; for handlers of signals."""
        output, woke = output_of_this_coroutine.get(), self.loop.times.woke
        if output is None or woke is None or _clock() - woke < LASTS:
            return
        if asyncio.current_task(self.loop) is None or (item := self._item_of(output)) is None:
            return
        limit = item.call.call.timeout
        if limit is not None and _clock() - item.begun > limit:
            item.overdue = True
            raise Overdue
        for call in list(self.calls.values()):  # no other step of these may begin, and block as well
            call.stopped = call.stopped or self._is_unwanted(call.call.id)
        if item.call.stopped:
            raise Interrupted

    def _item_of(self, output: CoroutineOutput) -> CoroutineItem | None:
        return next((item for item in self.running if item.output is output and not item.over), None)

    def _end_struck(self) -> None:
        """End items whose tasks have ended without telling: a signal came at that moment."""
        for item in [item for item in self.running if item.task is not None and item.task.done()]:
            self.end(item, None, asyncio.CancelledError())

    def _handle(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Report an exception that nothing has caught, unless everything is being ended."""
        if not self._stopping:
            loop.default_exception_handler(context)


def _timeout(item: CoroutineItem, error: BaseException | None, *, swallows: bool = False) -> ItemTimeoutError:
    """Return the failure of an item whose time is over, whatever it raised."""
    message = f"it took longer than timeout={item.call.call.timeout:g} s"
    if swallows:
        message += (
            ", and did not end when it was canceled: its code catches `asyncio.CancelledError` without "
            "raising it again"
        )
    new = ItemTimeoutError(message)
    if error is None:
        return new
    new.__context__ = None if isinstance(error, (Overdue, asyncio.CancelledError)) else error
    return new.with_traceback(error.__traceback__)


def _closed(item: CoroutineItem) -> bool:
    """Close an item's coroutine; whether it has ended.

    What ignores that as well stays suspended for good.
    """
    chain, inner = [], item.coroutine
    while inner is not None and hasattr(inner, "cr_await"):
        chain.append(inner)
        inner = inner.cr_await
    with suppress(BaseException):  # it ignores that as well; or its own code raises
        item.coroutine.close()
    for coroutine in chain:
        if coroutine.cr_frame is not None:
            _keep_object(coroutine)
    return item.over


async def _hold(manager: Any, entered: asyncio.Future[Any], leave: asyncio.Event) -> None:
    """Be inside a context manager until `leave`."""
    try:
        async with manager as value:
            entered.set_result(value)
            await leave.wait()
    except BaseException as error:
        if entered.done():
            raise
        plain = isinstance(error, Exception) and not isinstance(error, StopIteration)  # no future takes that
        entered.set_exception(error if plain else RuntimeError(repr(error)))


def _retrieve(task: asyncio.Task[Any]) -> None:
    """Look at a task's exception, so that asyncio does not report it."""
    if not task.cancelled():
        task.exception()


def _keep_for_good(task: asyncio.Task[Any]) -> None:
    """Keep a task that does not end."""
    task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001 (no other way to mute it)
    _keep_object(task)


def _keep_object(kept: object) -> None:
    """Keep a task or coroutine that does not end: its destructor would run its code, perhaps for ever."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(kept))
