"""Run one call: the user's function on the items of a chunk, with an outcome for each.

Short items run in a bare loop; items with special needs (timing, a limit, a seed,
unreadable items) run in a slower one.  A long call sends its outcomes every
`FLUSH` seconds.
"""

from __future__ import annotations

import math
import os
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from itertools import islice
from typing import Any

from nbpar.core.call_style import CallStyle
from nbpar.errors import ItemExitedError, WrongNumberError
from nbpar.wire.faults import Fault
from nbpar.wire.messages import INITIALIZER, Call
from nbpar.wire.pickling import snapshot
from nbpar.wire.references import IN_PARAMETER, IN_VARIABLE, atoms, settled
from nbpar.worker.cleanup import AfterItem
from nbpar.worker.output.recorder import ItemId
from nbpar.worker.seeding import randomness_kept, seeded
from nbpar.worker.signals import Interrupted, Interrupts

FLUSH = 0.1
"""Seconds after which a call sends its outcomes so far."""

SLAB = 256
"""Number of short items between two checks of the clock."""

LOOK_AFTER = 2e-4
"""Seconds from which an item may have run a child process, whose output is collected."""

INTERRUPTED_ITSELF = (
    "it was interrupted by SIGINT although its run was not stopped; it has probably sent the signal itself "
    "(`signal.raise_signal`, `os.kill`, `_thread.interrupt_main`)"
)

_clock = time.perf_counter

Describe = Callable[[BaseException], Fault]

GLANCE = 1e-3
"""Seconds of short items after which their leftovers are checked."""


News = tuple[int, list[Any], dict[int, Fault], float, tuple[float, ...]]
"""First index, values, faults by offset, seconds, seconds per item."""


class Outcomes:
    """Outcomes of neighboring items, as they come.

    They may be handed out early, by another thread, while more are added at the end.
    """

    def __init__(self, first: int) -> None:
        self.counted_until = 0.0
        """Until when seconds were handed out early, or since when they count."""

        self.deadline = math.inf
        """When what is new is handed out in any case."""

        self._told = 0
        """How many of the values were handed out early."""

        self._told_seconds = 0.0
        self._imported = 0.0
        self._imports: dict[int, float] = {}
        self._begin(first)

    @property
    def index(self) -> int:
        """Index of the item that runs now."""
        return self.first + len(self.values)

    def news(self) -> News:
        """Return what is new."""
        seconds = max(self.seconds - self._imported - self._told_seconds, 0.0)
        if self._told:
            return self._part(len(self.values), seconds)
        return self.first, self.values, self.faults, seconds, tuple(self._each(len(self.values)))

    def take(self) -> News:
        """Hand out what is new, once."""
        news = self.news()
        self.drop_news()
        return news

    def drop_news(self) -> None:
        """Forget what is new: it has been handed out."""
        self._begin(self.index)

    def early_news(self, until: float) -> News:
        """Return what is new by now, in another thread than the one that adds to it.

        Args:
            until: when the last item was over, as far as that is known.
        """
        stop, seconds = len(self.values), max(until - self.counted_until, 0.0)
        if self._is_timed():
            stop = min(stop, len(self.each))
            seconds = sum(self._each(stop)[self._told :])
        return self._part(stop, seconds)

    def tell_early(self, count: int, seconds: float, until: float) -> None:
        """Record that the first `count` outcomes of `early_news` were handed out."""
        start, self._told = self._told, self._told + count
        self._told_seconds += seconds
        self.counted_until = until
        self.values[start : self._told] = [None] * count  # as many: the list may be growing

    def note_import(self, seconds: float) -> None:
        """Do not count these seconds as work of the item that runs now."""
        self._imports[self.index] = self._imports.get(self.index, 0.0) + seconds
        self._imported += seconds

    def _is_timed(self) -> bool:
        """Whether each item is timed by itself, once it is over."""
        return False

    def _begin(self, first: int) -> None:
        self.first = first
        self.values: list[Any] = []
        self.faults: dict[int, Fault] = {}
        self.each: list[float] = []
        self.seconds = 0.0
        self._told, self._told_seconds = 0, 0.0
        if self._imported:
            self._imports, self._imported = {}, 0.0

    def _part(self, stop: int, seconds: float) -> News:
        start = self._told
        faults = {at - start: fault for at, fault in list(self.faults.items()) if start <= at < stop}
        each = tuple(self._each(stop)[start:])
        return self.first + start, self.values[start:stop], faults, seconds, each

    def _each(self, stop: int) -> list[float]:
        """Return the first items' seconds without those in which they imported something."""
        each = self.each[:stop]
        for index, seconds in list(self._imports.items()) if self._imports else ():
            if (place := index - self.first) < len(each):
                each[place] = max(each[place] - seconds, 0.0)
        return each


class Execution(Outcomes):
    """One call under way: `advance` until `finished`, and `take` what is done."""

    interrupted = False
    interruption: Fault | None = None
    """The exception that interrupted an item, as its failure: only the client knows whether it caused it."""

    begun_after: float | None = None
    """Seconds of an item after which the client is told that it has begun, if it wants that."""

    strays: Sequence[Fault] = ()
    """Exceptions raised while no item ran, so by leftovers of an earlier one."""

    _error: BaseException | None = None
    """The exception that failed the current item."""

    def __init__(
        self,
        function: Callable[[Any], Any],
        items: Sequence[Any],
        call: Call,
        broken: dict[int, Fault],
        *,
        interrupts: Interrupts,
        describe: Describe,
        is_given_up: Callable[[int], bool] = lambda _: True,
        tell_running: Callable[[bool], None] = lambda _: None,
        look: AfterItem | None = None,
        first_call: bool = False,
        by_reference: bool = False,
    ) -> None:
        self.finished = not len(items)
        self._function = function
        self._items = items if type(items) is list else list(items)
        self._total = len(self._items)
        self._iterator = iter(self._items)
        self.call_id, self.call_first, self.run = call.id, call.first, call.run
        self._call = call
        self._broken = broken
        self._interrupts = interrupts
        self._describe = describe
        self._is_given_up = is_given_up
        """Whether the client has canceled a call, as known at the time of an interrupt."""

        self._tell_running = tell_running
        self._look = look
        self._curious = first_call and look is not None
        """Check the next item even if it is short: others may behave the same."""

        super().__init__(call.first)
        self._by_reference = by_reference
        careful = broken or call.timeout is not None or call.seed is not None
        timed = call.timed or (look is not None and look.seen)
        short = self._first_item if self._curious else self._slab
        self._step = self._careful if careful else self._timed if timed else short
        if call.spread == CallStyle.BATCH:
            self._step = self._whole
        self._pid = os.getpid()
        _current.execution = weakref.ref(self)

    @property
    def item_id(self) -> ItemId | None:
        """The item that runs now; None for an initializer."""
        call = self._call
        if call.run == INITIALIZER:
            return None
        return ItemId.of(call, self.index)

    @property
    def long(self) -> bool:
        """Whether it may take much longer than sending a message."""
        return self._step not in (self._slab, self._first_item)

    @property
    def limited(self) -> bool:
        """Whether its items have a time limit."""
        return self._call.timeout is not None

    def advance(self) -> None:
        """Run items until all are done or `FLUSH` seconds have passed."""
        with nullcontext() if self._call.seed is None else randomness_kept():
            self._advance()

    def _advance(self) -> None:
        started = glanced = _clock()
        self.counted_until, self.deadline = started, started + FLUSH
        if self._error is not None:  # another one came while that was being described
            self._fail(self._error)
        while not self.finished and (now := _clock()) < self.deadline:
            if now - glanced > GLANCE and self._look is not None:
                glanced = now
                self._look.glance(self.index - 1)
            self._attempt()
            if os.getpid() != self._pid:
                os._exit(0)  # a fork made by the user's function, returning from it
        seconds = _clock() - started
        self.seconds += seconds
        if self._look is not None:
            look = self._look.look if seconds > LOOK_AFTER or self.interrupted else self._look.glance
            look(max(self.index - 1, self._call.first))

    def _attempt(self) -> None:
        try:
            try:
                self._interrupts.armed = True
                self._step()
                self._interrupts.armed = False
            except BaseException as error:  # noqa: BLE001 (whatever the user's code raises)
                if self._interrupts.made(error):
                    self._stop(error)
                    return
                self._interrupts.armed = False
                self._error = error
                self._look_for_output(self.index)
                self._fail(error)
        except Interrupted as error:  # the signal arrived during another exception
            self._interrupts.armed = False
            self._stop(error)

    ATTEMPT = _attempt.__code__
    """The code of the frame below which the frames of an item are."""

    def cut(self) -> int | None:
        """Begin no item after the one at hand, while `advance` goes on in another thread.

        Returns how many of the call's items it has begun or will; None when none is left out.
        """
        kept = self.index + 1 - self._call.first
        if kept >= self._total or self._call.spread == CallStyle.BATCH:
            return None
        del self._items[kept:]  # by now it may have gone on, but no further than to what it has begun
        begun = _position(self._iterator)
        self._total = self.index - self._call.first if begun is None else max(kept, begun)
        return self._total

    def _is_timed(self) -> bool:
        return self._step in (self._timed, self._careful)

    def close(self) -> None:
        """Drop the items, which the bound step would keep alive until garbage collection."""
        del self._step

    def forget_items(self) -> None:
        """Drop the remaining items: called in the child when the user's function forks."""
        self._items.clear()
        self.finished = True

    def _slab(self) -> None:
        function, values, items, pickled = self._function, self.values, self._items, self._pickled
        last, before = 0 if self._by_reference else self._total - 1, self.first - self._call.first
        for item in islice(self._iterator, SLAB):
            value = function(item)
            if type(value) not in atoms and (place := before + len(values)) < last:
                item = None  # noqa: PLW2901 (nothing here holds the value any more)
                try:
                    items[place] = None
                except IndexError:  # the call was cut, or this is a fork
                    pass
                value = settled(value, IN_VARIABLE, pickled)
            values.append(value)
        self._check_end()

    def _settled(self, value: Any) -> Any:
        """Return a value in the form in which it waits for being sent, whatever later items do."""
        place = self.index - self._call.first
        if self._by_reference or place + 1 >= self._total:
            return value
        with suppress(IndexError):  # likewise
            self._items[place] = None
        return settled(value, IN_PARAMETER, self._pickled)

    def _pickled(self, value: Any) -> Any:
        with self._interrupts.shield():
            return snapshot(value)

    def _first_item(self) -> None:
        """Run one short item alone and check its output."""
        self._step = self._slab
        for item in islice(self._iterator, 1):
            value = self._function(item)
            del item
            value = self._settled(value)
            self._look_for_output(self.index)
            self.values.append(value)
        self._check_end()

    def _timed(self) -> None:
        function, values, each, deadline = self._function, self.values, self.each, self.deadline
        look_after = self._look_after()
        begun = _clock()
        for item in self._iterator:
            value = function(item)
            ended = _clock()
            del item
            value = self._settled(value)
            if ended - begun > look_after:
                self._look_for_output(self.index)
                look_after = self._look_after()
            values.append(value)
            each.append(ended - begun)
            if ended > deadline:
                break
            begun = ended
        self._check_end()

    def _whole(self) -> None:
        """Run all items in one call; each one separately after a failure, so that only that one is lost."""
        whole, total = self._function, self._total
        self._function = lambda item: _as_many(whole([item]), 1)[0]
        self._step = self._careful
        if self._broken or total == 1:
            return
        begun = _clock()
        try:
            with self._care(self.first):
                values = _as_many(whole(self._items), total)
            self._interrupts.check_time()
        except BaseException as error:
            if self._interrupts.made(error):
                if self._is_given_up(self.call_id):
                    raise
            elif self._call.stop_early or isinstance(error, WrongNumberError):
                self._interrupts.armed = False
                self._fail_all(self._fault_of(error))
        else:
            self.values, self.finished = values, True
            self.each = [max(_clock() - begun - self._imported, 0.0) / total] * total
            self._imports.clear()

    def _fail_all(self, fault: Fault) -> None:
        self.values, self.each = [None] * self._total, [0.0] * self._total
        self.faults = dict.fromkeys(range(self._total), fault)
        self.finished = True

    @contextmanager
    def _care(self, index: int) -> Iterator[None]:
        """Seed and limit the code in this block."""
        call = self._call
        with ExitStack() as care:
            if call.seed is not None:
                care.enter_context(seeded(call.seed, index))
            care.enter_context(self._interrupts.limit(call.timeout, self._tell_running))
            yield

    def _careful(self) -> None:
        call, look_after = self._call, self._look_after()
        for item in self._iterator:
            begun = _clock()
            fault = self._broken.get(self.index - call.first)
            if fault is not None:
                self._interrupts.armed = False
                self._note_fault(fault)
                break
            with self._care(self.index):
                value = self._function(item)
            self._interrupts.check_time()
            ended = _clock()
            del item
            value = self._settled(value)
            if ended - begun > look_after:
                self._look_for_output(self.index)
                look_after = self._look_after()
            self.values.append(value)
            self.each.append(ended - begun)
            if ended > self.deadline:
                break
        self._check_end()

    def _look_after(self) -> float:
        """Return the duration of an item from which its output is checked."""
        if self._look is None:
            return math.inf
        return 0.0 if self._curious or self._look.seen else LOOK_AFTER

    def _look_for_output(self, index: int) -> None:
        self._curious = self._curious and self._call.spread == CallStyle.CALL  # each of them is on its own
        if self._look is not None:
            self._look.look(index)

    def _check_end(self) -> None:
        if self.first + len(self.values) - self._call.first >= self._total:
            self.finished = True

    @property
    def begun(self) -> int:
        """Number of the call's items that were taken; the last of them may have no outcome yet."""
        begun = _position(self._iterator)
        return self.index - self._call.first if begun is None else begun

    @property
    def _under_way(self) -> bool:
        """Whether an item was taken that has no outcome yet."""
        return self.begun > self.index - self._call.first

    def _fail(self, error: BaseException) -> None:
        if self._under_way:
            self._note_fault(self._fault_of(error))
        else:
            self.strays = [*self.strays, self._fault_of(error)]
        self._error = None
        self._check_end()

    def _fault_of(self, error: BaseException) -> Fault:
        return self._describe(self._interrupts.told(error))

    def _note_fault(self, fault: Fault) -> None:
        self.faults[len(self.values)] = fault
        self.values.append(None)
        while len(self.each) < len(self.values):
            self.each.append(0.0)
        if self._call.stop_early:
            self.finished = True

    def _stop(self, error: BaseException) -> None:
        self.faults.pop(len(self.values), None)
        self.interrupted = self.finished = True
        if self._under_way:
            new = ItemExitedError(INTERRUPTED_ITSELF)
            self.interruption = self._describe(new.with_traceback(error.__traceback__))


def _position(iterator: Iterator[Any]) -> int | None:
    """Return how many items an iterator of a list has given; None when it has come to the end."""
    state: Any = iterator.__reduce__()
    return int(state[2]) if len(state) > 2 else None


def _as_many(values: Any, wanted: int) -> list[Any]:
    """Return values as a list, which must have the right length."""
    results = list(values)
    if len(results) != wanted:
        raise WrongNumberError(f"it returned {len(results)} results for {wanted} items; each item needs one")
    return results


class _Current:
    """The execution whose items a forked child must not continue."""

    execution: weakref.ref[Execution] | None = None

    def forget(self) -> None:
        if self.execution is not None and (execution := self.execution()) is not None:
            execution.forget_items()


_current = _Current()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_current.forget)
