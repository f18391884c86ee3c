"""Run one call: the user's function on neighbouring items, each outcome by itself.

Short items run in a bare loop; what needs care for each item (timing, a limit, a seed,
items that did not arrive) runs in a slower one.  A long call hands out what it has every
`FLUSH` seconds.
"""

from __future__ import annotations

import math
import os
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from itertools import islice
from typing import Any, Protocol

from nbpar.core.seeding import randomness_kept, seeded
from nbpar.core.spread import Spread
from nbpar.errors import WrongNumberError
from nbpar.wire.faults import Fault
from nbpar.wire.messages import Call
from nbpar.worker.interrupting import Interrupted, Interrupts

FLUSH = 0.1
"""Seconds after which a call hands out what it has done so far."""

SLAB = 256
"""Items between two looks at the clock when items are short."""

LOOK_AFTER = 2e-4
"""An item that took so many seconds may have run a child process, whose output is looked for."""

_clock = time.perf_counter

Describe = Callable[[BaseException], Fault]


class Look(Protocol):
    """Finds what items have written past Python."""

    seen: bool
    """They do that."""

    def look(self, index: int | None = None) -> None:
        """Note what there is, for the item that runs or for another one."""


class Execution:
    """One call under way: `advance` until `finished`, and `take` what is done."""

    def __init__(
        self,
        function: Callable[[Any], Any],
        items: Sequence[Any],
        call: Call,
        broken: dict[int, Fault],
        *,
        interrupts: Interrupts,
        describe: Describe,
        stopped_by: type[BaseException] = Interrupted,
        look: Look | None = None,
        first_call: bool = False,
    ) -> None:
        self.finished = not len(items)
        self.interrupted = False
        self._function = function
        self._items = items if type(items) is list else list(items)
        self._total = len(self._items)
        self._iterator = iter(self._items)
        self.call_id = call.id
        self._call = call
        self._broken = broken
        self._interrupts = interrupts
        self._describe = describe
        self._stopped_by = stopped_by
        self._look = look
        self._curious = first_call and look is not None
        """The next item is looked at however short it is: as it does, others may do."""

        self._begin(call.first)
        careful = broken or call.timeout is not None or call.seed is not None
        timed = call.timed or (look is not None and look.seen)
        short = self._first_item if self._curious else self._slab
        self._step = self._careful if careful else self._timed if timed else short
        if call.spread == Spread.BATCH:
            self._step = self._whole
        self._pid = os.getpid()
        _current.execution = weakref.ref(self)

    @property
    def long(self) -> bool:
        """Whether it may take much longer than a message."""
        return self._step not in (self._slab, self._first_item)

    @property
    def index(self) -> int:
        """Index of the item that runs now."""
        return self.first + len(self.values)

    def advance(self) -> None:
        """Run items until all are done or `FLUSH` seconds are over."""
        with nullcontext() if self._call.seed is None else randomness_kept():
            self._advance()

    def _advance(self) -> None:
        started = _clock()
        self._deadline = started + FLUSH
        while not self.finished and _clock() < self._deadline:
            try:
                try:
                    self._interrupts.armed = True
                    self._step()
                    self._interrupts.armed = False
                except self._stopped_by:
                    self._stop()
                except BaseException as error:  # noqa: BLE001 (whatever the user's code raises)
                    self._interrupts.armed = False
                    self._look_for_output(self.index)
                    self._fail(error)
            except Interrupted:  # the signal came while another exception was on its way
                self._stop()
            if os.getpid() != self._pid:
                os._exit(0)  # the user's function forked, and this is the child coming back
        seconds = _clock() - started
        self.seconds += seconds
        if self._look is not None and (seconds > LOOK_AFTER or self._look.seen):
            self._look.look(max(self.index - 1, self._call.first))

    def take(self) -> tuple[int, list[Any], dict[int, Fault], float, tuple[float, ...]]:
        """Hand out what is new: first index, values, faults by offset, seconds, seconds per item."""
        each = tuple(self.each[: len(self.values)])
        taken = (self.first, self.values, self.faults, self.seconds, each)
        self._begin(self.first + len(self.values))
        return taken

    def forget_items(self) -> None:
        """Leave nothing to run: called in the child when the user's function forks."""
        self._items.clear()
        self.finished = True

    def _begin(self, first: int) -> None:
        self.first = first
        self.values: list[Any] = []
        self.faults: dict[int, Fault] = {}
        self.each: list[float] = []
        self.seconds = 0.0

    def _slab(self) -> None:
        values = self.values
        wanted = min(len(values) + SLAB, self._total - (self.first - self._call.first))
        values.extend(map(self._function, islice(self._iterator, SLAB)))
        if len(values) < wanted and self._items:  # `extend` took it for the end of the items
            raise StopIteration("raised by the function")
        self._check_end()

    def _first_item(self) -> None:
        """Run one short item by itself and see what it has put out."""
        self._step = self._slab
        for item in islice(self._iterator, 1):
            value = self._function(item)
            self._look_for_output(self.index)
            self.values.append(value)
        self._check_end()

    def _timed(self) -> None:
        function, values, each, deadline = self._function, self.values, self.each, self._deadline
        look_after = self._look_after()
        begun = _clock()
        for item in self._iterator:
            value = function(item)
            ended = _clock()
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
        """Run all items in one call; each by itself after that has failed, so that one costs no other."""
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
        except self._stopped_by:
            raise
        except BaseException as error:  # noqa: BLE001 (whatever the user's code raises)
            if self._call.stop_early or isinstance(error, WrongNumberError):
                self._interrupts.armed = False
                self._fail_all(self._fault_of(error))
        else:
            self.values, self.finished = values, True
            self.each = [(_clock() - begun) / total] * total

    def _fail_all(self, fault: Fault) -> None:
        self.values, self.each = [None] * self._total, [0.0] * self._total
        self.faults = dict.fromkeys(range(self._total), fault)
        self.finished = True

    @contextmanager
    def _care(self, index: int) -> Iterator[None]:
        """Seed and limit what runs in this block."""
        call = self._call
        with ExitStack() as care:
            if call.seed is not None:
                care.enter_context(seeded(call.seed, index))
            care.enter_context(self._interrupts.limit(call.timeout))
            yield

    def _careful(self) -> None:
        call = self._call
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
            self._look_for_output(self.index)
            self.values.append(value)
            self.each.append(_clock() - begun)
            if _clock() > self._deadline:
                break
        self._check_end()

    def _look_after(self) -> float:
        """After how many seconds of an item its output is looked for."""
        if self._look is None:
            return math.inf
        return 0.0 if self._curious or self._look.seen else LOOK_AFTER

    def _look_for_output(self, index: int) -> None:
        self._curious = False
        if self._look is not None:
            self._look.look(index)

    def _check_end(self) -> None:
        if self.first + len(self.values) - self._call.first >= self._total:
            self.finished = True

    def _fail(self, error: BaseException) -> None:
        self._note_fault(self._fault_of(error))
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

    def _stop(self) -> None:
        self.faults.pop(len(self.values), None)
        self.interrupted = self.finished = True


def _as_many(values: Any, wanted: int) -> list[Any]:
    """Return values as a list, which has to have the right length."""
    results = list(values)
    if len(results) != wanted:
        raise WrongNumberError(f"it returned {len(results)} results for {wanted} items; each item needs one")
    return results


class _Current:
    """The execution whose items a forked child must not go on with."""

    execution: weakref.ref[Execution] | None = None

    def forget(self) -> None:
        if self.execution is not None and (execution := self.execution()) is not None:
            execution.forget_items()


_current = _Current()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_current.forget)
