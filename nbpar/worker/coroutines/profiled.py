"""Profile coroutines: find the user's frames in the thread that runs them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from types import FrameType

from nbpar.wire.messages import Message
from nbpar.worker.coroutines.event_loop import CoroutineLoop
from nbpar.worker.coroutines.item import RUN, CoroutineCall, CoroutineItem
from nbpar.worker.coroutines.runner import CoroutineRunner
from nbpar.worker.profiling.profiler import Profiler
from nbpar.worker.profiling.stacks import without_own

LOOP = CoroutineLoop.run.__code__
"""The code of the frame below which all coroutines run."""

OF_THE_LOOP = ("asyncio", "selectors")
"""Packages that the event loop consists of."""


def profile(call: CoroutineCall, runner: CoroutineRunner, profiler: Profiler) -> None:
    """Profile the items of a call, from now on."""
    call.measure_memory()
    profiler.coroutine = partial(frames_of_coroutine, runner)
    profiler.begin_coroutines(call.call.run)


def profiled(call: CoroutineCall, profiler: Profiler | None, *, idle: bool) -> list[Message]:
    """Return what is told of a call with its outcomes, if it is profiled.

    `idle`: there is no other coroutine.
    """
    if profiler is None or call.peaks is None:
        return []
    if idle:
        profiler.rest()
    return [*profiler.stacks(call.call.run, idle=idle), *call.measured]


def frames_of_coroutine(
    runner: CoroutineRunner, frames: Sequence[FrameType]
) -> tuple[int | None, Sequence[FrameType]]:
    """Return the run of the step that these frames run, and the frames of the user's code.

    The run is None if no step runs, or that of a task which items of several runs may have started.  From any
    thread.
    """
    codes = [frame.f_code for frame in frames]
    if RUN in codes:
        place = codes.index(RUN)
        item = frames[place].f_locals.get("item")
        if isinstance(item, CoroutineItem):
            return item.call.call.run, without_own(frames[place + 1 :])
    if LOOP not in codes:
        return None, ()
    own = without_own(frames[codes.index(LOOP) + 1 :], OF_THE_LOOP)
    try:
        runs = {call.call.run for call in runner.calls.values()} if own else set()
    except RuntimeError:  # they changed in the loop's thread
        return None, ()
    return (runs.pop(), own) if len(runs) == 1 else (None, ())
