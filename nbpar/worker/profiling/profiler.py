"""Profile the items of one worker: its stacks, and the memory of each item."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

from nbpar.core.call_style import CallStyle
from nbpar.wire.messages import Call, MemoryPeaks, Message
from nbpar.worker.execution import Execution
from nbpar.worker.profiling.peaks import Span, peak_memory
from nbpar.worker.profiling.sampler import sampler
from nbpar.worker.profiling.stacks import StackSamples, frames_of, frames_of_item, nested_items

MOST_RUNS = 16
"""Maximal number of profiled runs with samples on one worker; the oldest are forgotten."""

SEND_EVERY = 0.5
"""Seconds between two messages with stacks while there is other work."""

SEND_AT_MOST = 0.05
"""Seconds between two in any case."""

LASTS = 1e-3
"""Seconds from which the memory of an item is measured by itself."""

MOST_ITEMS = 64
"""Items in a call up to which each may last that long."""

SEND_WHILE_LASTING = 2.0
"""Seconds between two messages while an item lasts."""

_clock = time.perf_counter

FrameOfCoroutine = Callable[[Sequence[FrameType]], "tuple[int | None, Sequence[FrameType]]"]
"""Returns the run of the coroutine that a thread's frames run, and the frames of the user's code."""


class Profiler:
    """Profiles one worker; its thread alone uses it, but for `look`."""

    def __init__(self) -> None:
        self._runs: dict[int, StackSamples] = {}
        self._sent = float("-inf")
        self._level = 0
        """How many items are around those of this worker, in the same thread."""

        self._ordinary: StackSamples | None = None
        """Of the ordinary items that run now."""

        self.coroutine: FrameOfCoroutine | None = None
        """Finds the coroutine that runs."""

        self._execution: Execution | None = None
        """What runs ordinary items, and knows the one that runs."""

        self._span: Span | None = None
        """Since the last item that was measured."""

        self._unmeasured = 0
        """Index of the first item after that."""

        self._peaks: list[tuple[int, int, int]] = []
        """As of `MemoryPeaks`, as far as they were not sent."""

    def measured(self, function: Callable[[Any], Any], call: Call, items: int) -> Callable[[Any], Any]:
        """Return the function of a call, such that the memory of each item is measured that lasts.

        Short ones are measured together, as are those of calls with many items: either these are short, or
        so long that a call is advanced item by item.
        """
        if call.spread == CallStyle.BATCH or items > MOST_ITEMS:
            return function

        def measure(item: Any) -> Any:
            begun = _clock()
            try:
                return function(item)
            finally:
                if _clock() - begun > LASTS:
                    self._lap()

        return measure

    def _lap(self) -> None:
        """Note the memory of the item that is over, and of those before it that were too short."""
        execution, span = self._execution, self._span
        if execution is not None and span is not None:
            peak = peak_memory.lap(span)
            self._note(execution.index + 1, peak)

    def advance(self, execution: Execution, run: int) -> None:
        """Advance an execution, and sample its items."""
        self._level = nested_items(frames_of(sys._getframe()))  # noqa: SLF001 (as inspect.currentframe)
        self._ordinary, self._span = self._samples(run), peak_memory.begin()
        self._execution, self._unmeasured = execution, execution.index
        sampler.watch(self.look)
        try:
            execution.advance()
        finally:
            sampler.rest(self.look)
            self._ordinary = self._execution = None
            self._note(execution.index, peak_memory.end(self._span))

    def _note(self, stop: int, peak: int) -> None:
        """Note the memory of the items before an index."""
        if (count := stop - self._unmeasured) > 0:
            self._peaks.append((self._unmeasured, count, peak))
            self._unmeasured = stop

    def begin_coroutines(self, run: int) -> None:
        """Sample the coroutines of a run from now on."""
        self._samples(run)
        sampler.watch(self.look)

    def news(self, run: int, call: int, *, idle: bool) -> list[Message]:
        """Return what is to be sent with outcomes of a call of ordinary items.

        Args:
            run: of the call.
            call: its number.
            idle: whether there is no other work: these outcomes may be the last of the run.
        """
        messages, peaks = self.stacks(run, idle=idle), self._peaks
        if peaks:
            self._peaks = []
            messages.append(MemoryPeaks(call, tuple(peaks)))
        return messages

    def stacks(self, run: int, *, idle: bool) -> list[Message]:
        """Return a run's samples since the last time, if they are due."""
        now = time.monotonic()
        if now - self._sent < (SEND_AT_MOST if idle else SEND_EVERY):
            return []
        samples = self._runs.get(run)
        if samples is None or (taken := samples.take()) is None:
            return []
        self._sent = now
        return [taken]

    def late(self) -> list[Message]:
        """Return the samples of items that last, now and then; in the attendant's thread."""
        if time.monotonic() - self._sent < SEND_WHILE_LASTING:
            return []
        taken = [samples.take() for samples in list(self._runs.values())]
        self._sent = time.monotonic()
        return [message for message in taken if message is not None]

    def rest(self) -> None:
        """Sample no more, unless there is more work soon."""
        sampler.rest(self.look)

    def close(self) -> None:
        """Sample no more."""
        sampler.forget(self.look)

    def look(self, frame: FrameType, seconds: float) -> None:
        """Add a sample, in the sampler's thread."""
        frames = frames_of(frame)
        samples, own = self._ordinary, frames_of_item(frames, self._level)
        if not own and self.coroutine is not None:
            run, own = self.coroutine(frames)
            samples = None if run is None else self._runs.get(run)
        if own and samples is not None:
            samples.add(own, seconds)

    def _samples(self, run: int) -> StackSamples:
        samples = self._runs.get(run)
        if samples is None:
            samples = self._runs[run] = StackSamples(run)
            if len(self._runs) > MOST_RUNS:
                del self._runs[next(iter(self._runs))]
        return samples
