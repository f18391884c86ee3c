"""All tasks of one call of `joblib.Parallel` as one run, which they join as joblib hands them in."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field, fields
from functools import partial
from itertools import islice
from types import MethodType, TracebackType
from typing import Any

from nbpar.core import events
from nbpar.core.call_style import CallStyle, Lent
from nbpar.core.chunking import Chunker
from nbpar.core.outcome import Failure, Part
from nbpar.core.scheduling.runstate import RunState
from nbpar.core.scheduling.windows import Assignment
from nbpar.core.source import ReadySource
from nbpar.dispatch.dispatcher import Stir
from nbpar.dispatch.job import Job, Order, Sink
from nbpar.errors import StoppedError
from nbpar.host.ctrl_c import may_be_ctrl_c
from nbpar.host.error_log import call_safely
from nbpar.integrations.joblib_names import TaskFailure
from nbpar.integrations.joblib_sealing import Sealed, Sealer
from nbpar.integrations.joblib_tasks import (
    MOST_FUNCTIONS,
    KnownFunction,
    Task,
    TaskRunner,
    grouped,
    key_of,
    parts_of,
)
from nbpar.pool.launch import Launcher, views_on_demand
from nbpar.run import history
from nbpar.run.printing import Printer
from nbpar.run.run import Run
from nbpar.wire.messages import Load

SHORTEST = 0.01
"""Seconds of work below which a chunk does not shrink: what is here now is seldom the end of the input."""

Callback = Callable[["Batch"], Any]


class Batch:
    """Tasks that joblib has handed in together, until all have their outcomes."""

    def __init__(self, size: int, callback: Callback | None) -> None:
        self.first = 0
        """Index of its first task."""

        self.left = size
        self.values: list[Any] = [None] * size
        self.callback = callback
        self.error: BaseException | None = None

    def take(self, part: Part) -> bool:
        """Take its share of outcomes; return whether it has all now."""
        start = max(part.first - self.first, 0)
        stop = min(part.stop - self.first, len(self.values))
        self.values[start:stop] = part.values[
            start + self.first - part.first : stop + self.first - part.first
        ]
        self.left -= stop - start
        if (failed := min(part.failures, default=None)) is not None:
            self.fail(part.failures[failed].exception)
        return not self.left

    def result(self) -> list[Any]:
        """Return the values, or raise what failed."""
        if self.error is not None:
            raise self.error
        return self.values

    def fail(self, error: BaseException) -> None:
        """Have an error, unless it has one."""
        self.error = self.error or error


class _Source(ReadySource):
    """Tasks that are not under way yet; a chunk has tasks of one function."""

    def __init__(self) -> None:
        self._groups: deque[tuple[KnownFunction, deque[Any]]] = deque()
        self._lock = threading.Lock()
        self._count = 0
        self.complete = False
        """Whether no more tasks come."""

    def put(self, function: KnownFunction, items: Sequence[Any]) -> None:
        """Add tasks; from any thread."""
        with self._lock:
            if self._groups and self._groups[-1][0] is function:
                self._groups[-1][1].extend(items)
            else:
                self._groups.append((function, deque(items)))
            self._count += len(items)

    @property
    def ended(self) -> bool:
        return self.complete and not self._count

    @property
    def remaining(self) -> int:
        return self._count

    @property
    def ready(self) -> bool:
        return self._count > 0

    def take(self, limit: int, *, eager: bool) -> Sequence[Any]:  # noqa: ARG002 (what is here is ready)
        with self._lock:
            if not self._groups:
                return []
            _, items = self._groups[0]
            taken = [items.popleft() for _ in range(min(limit, len(items)))]
            self._count -= len(taken)
            if not items:
                self._groups.popleft()
        return taken

    def close(self) -> None:
        with self._lock:
            self._groups.clear()
            self._count = 0
            self.complete = True


@dataclass(eq=False, kw_only=True)
class _TasksJob(Job):
    """A job whose chunks have different functions."""

    starts: list[int] = field(default_factory=list)
    """The first indices of neighboring tasks with the same function."""

    functions: list[KnownFunction] = field(default_factory=list)
    """Their functions."""

    def known(self, index: int) -> KnownFunction:
        """Return the function of a task."""
        return self.functions[bisect_right(self.starts, index) - 1]

    def function_of(self, index: int) -> Any:
        return self.known(index).runner if self.functions else None

    def order(self, assignment: Assignment) -> Order:
        known, call = self.known(assignment.next), super().order(assignment).call
        run = call.run if known.begin is None else known.begin.run
        return Order(known.begin, known.load, call._replace(run=run, digest=known.load.digest))

    def release(self) -> Sink:
        for function in self.functions:
            if isinstance(function.load.function, Lent):
                function.load.function.take_back()
        self.functions, self.starts = [], []
        return super().release()


class ParallelRun(Run):
    """The run of one call of `Parallel`.

    Args:
        launcher: starts it.
        nested: joblib's backend for calls within a task, and its number of jobs.
        sealer: makes items of arguments; None: workers use the same objects.
        threads: maximal number of threads of each numerical library in a task; None: those of the worker.
        label: its name in views.
        total: number of tasks; None if unknown.
        progress: the kind of view that `run.show()` makes.
        keep: whether its results are kept.
    """

    def __init__(
        self,
        launcher: Launcher,
        nested: tuple[Any, Any],
        sealer: Sealer | None,
        *,
        threads: int | None,
        label: str,
        total: int | None,
        progress: str,
        keep: bool,
    ) -> None:
        desk = launcher.dispatcher
        super().__init__(desk, label=label, errors="raise", streaming=not keep)
        if not keep:
            self.drop_values()
        self._printer = None if keep else Printer()
        self._cell = copy_context()
        self.keeps = keep
        """Whether its results are kept."""

        self.total = total
        """Number of tasks; None if unknown."""

        self._launcher = launcher
        self._nested = nested
        self._threads = threads
        self._sealer = sealer
        self._known: dict[tuple[Any, ...], KnownFunction] = {}
        self._source = _Source()
        self._stir = Stir(desk)
        self._lock = threading.Lock()  # for batches, between tasks that come and the end
        self._batches: list[Batch] = []
        """Those under way, in order."""

        self._count = 0
        self._told: dict[int, TaskFailure] = {}
        self._traces: list[tuple[BaseException, TracebackType | None]] = []
        self._callbacks = ThreadPoolExecutor(1, "nbpar joblib")
        """The thread in which joblib requests the next batch: reading its input may take long."""

        self.chunker = Chunker(largest=launcher.most_together, shortest=SHORTEST)
        self._stir.state = state = RunState(desk.new_id(), self._source, self.chunker, ordered=False)
        job = _TasksJob(state, self, Load(b"", "", None), None, label, total)
        self._tasks = job
        self.prepare(job)
        self.make_views = views_on_demand(progress, total)

    def trace_of(self, error: BaseException | None) -> TracebackType | None:
        """Return the worker's frames of a task's exception, which joblib takes away."""
        return next((trace for known, trace in self._traces if known is error), None)

    @property
    def count(self) -> int:
        """Number of tasks so far."""
        return self._count

    def put(self, tasks: Sequence[Task], callback: Callback | None) -> Batch:
        """Add tasks; `callback` gets their batch when all have their outcomes.  From any thread."""
        batch = Batch(len(tasks), callback)
        try:
            groups = [(known, self._items(known, group)) for known, group in grouped(tasks, self._find)]
        except Exception as error:  # noqa: BLE001 (a function that cannot be sent fails its tasks)
            groups = []
            batch.fail(error)
        with self._lock:
            if self._ending.locked():
                batch.fail(self._error or StoppedError(f"{self.label} was stopped"))
            if batch.error is None:
                batch.first = self._count
                self._batches.append(batch)
                for known, items in groups:
                    self._add(known, items)
        if batch.error is not None:
            self._tell(batch)
        elif self._started:
            self._stir()
        return batch

    def start(self) -> None:
        """Begin with the tasks so far; it is the user's last run from then on."""
        history.remember(self)
        self.begin()

    def complete(self) -> None:
        """Expect no more tasks; it is over when all have their outcomes."""
        self._source.complete = True
        self._stir()

    def close(self) -> None:
        """Call back no more.  Idempotent."""
        self._callbacks.shutdown(wait=False)
        self._known.clear()

    # ---- from any thread

    def _find(self, function: Callable[..., Any]) -> KnownFunction:
        """Return a function in the form in which workers get it."""
        if isinstance(function, MethodType):  # its object may change between tasks, here and on the worker
            return self._of_no_function()
        key = key_of(function)
        known = self._known.get(key)
        if known is None and len(self._known) < MOST_FUNCTIONS:
            keeps = (function, *(value for _, value in parts_of(function)))
            known = self._known[key] = self._made(function, keeps)
        return known or self._of_no_function()

    def _of_no_function(self) -> KnownFunction:
        """Return the form for tasks that each bring their own function."""
        known = self._known.get(())
        if known is None:
            known = self._known[()] = self._made(None, ())
        return known

    def _made(self, function: Callable[..., Any] | None, keeps: tuple[Any, ...]) -> KnownFunction:
        launcher, first = self._launcher, not self._known
        runner = TaskRunner(function, self._nested, self._threads)
        load = launcher.load(runner)
        run = self._tasks.state.id if first else launcher.dispatcher.new_id()
        return KnownFunction(runner, load, launcher.begin_of(run, runner, load, brief=not first), keeps)

    def _items(self, known: KnownFunction, tasks: Sequence[Task]) -> Sequence[Any]:
        items = known.items_of(tasks)
        return items if self._sealer is None else self._sealer.items(items)

    def _add(self, known: KnownFunction, items: Sequence[Any]) -> None:
        job = self._tasks
        if not job.functions or job.functions[-1] is not known:
            job.functions.append(known)
            job.starts.append(self._count)
        self._count += len(items)
        self._source.put(known, items)

    def _tell(self, batch: Batch) -> None:
        try:
            self._callbacks.submit(self._call_back, batch)
        except RuntimeError:
            pass  # the call of `Parallel` is over

    def _call_back(self, batch: Batch) -> None:
        if self._printer is not None and self._transcript.waiting:
            self._show_output(batch)
        if batch.callback is not None:
            batch.callback(batch)

    def _show_output(self, batch: Batch) -> None:
        """Show what a generator's tasks have put out, under the cell that has made it."""
        assert self._printer is not None
        pieces = self._transcript.take(batch.first, batch.first + len(batch.values))
        show = partial(self._cell.copy().run, self._printer.show, pieces)
        call_safely(show, f"not all output of {self.label} could be shown; it is in run.output")

    # ---- from the dispatcher's thread

    def deliver(self, parts: list[Part]) -> None:
        for part in parts:
            for index, failure in part.failures.items():
                part.failures[index] = self._named(failure)
        super().deliver(parts)
        for batch in self._completed_by(parts):
            self._tell(batch)

    def emit(self, event: events.Event) -> None:
        if type(event) is events.ItemFailed:
            event = events.ItemFailed(event.at, self._named(event.failure))
        super().emit(event)

    def finish(self, error: BaseException | None) -> None:
        super().finish(error)
        with self._lock:
            left, self._batches = self._batches, []
        for batch in left:
            if batch.left:
                batch.fail(self._error or StoppedError(f"{self.label} was stopped"))
                self._tell(batch)

    def _completed_by(self, parts: list[Part]) -> list[Batch]:
        """Give outcomes to their batches; return those that have all."""
        over = []
        with self._lock:
            for part in parts:
                at = bisect_right(self._batches, part.first, key=_first) - 1
                for batch in islice(self._batches, max(at, 0), None):
                    if batch.first >= part.stop:
                        break
                    if batch.take(part):
                        over.append(batch)
            done = 0
            while done < len(self._batches) and not self._batches[done].left:
                done += 1
            del self._batches[:done]
        return over

    def _named(self, failure: Failure) -> TaskFailure:
        """Return a failure that names the call, and of a search candidate and split."""
        known = self._told.get(failure.index)
        if known is None:
            self._traces.append((failure.exception, failure.exception.__traceback__))
            call, function = _call_of(failure)
            told = {each.name: getattr(failure, each.name) for each in fields(failure)}
            told.update(item=call, function=function, spread=CallStyle.CALL)
            known = self._told[failure.index] = TaskFailure(**told)
        return known


def _call_of(failure: Failure) -> tuple[Any, Any]:
    """Return arguments and function of a failed task."""
    item, function = failure.item, failure.function
    try:
        args, *rest = item.open() if type(item) is Sealed else item
        kwargs, *own = rest or ({},)
    except BaseException as error:
        if may_be_ctrl_c(error):
            raise
        return ((), {}), function  # its arguments cannot be made here
    if isinstance(function, TaskRunner):
        function = own[0] if own else function.function
    return (args, kwargs), function


def _first(batch: Batch) -> int:
    return batch.first
