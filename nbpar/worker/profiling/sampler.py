"""Sample the stacks of workers' threads: one thread for all workers of this process.

It runs only while a run is profiled.
"""

from __future__ import annotations

import math
import os
import random
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType

PERIOD = 0.01
"""Mean seconds between two samples.  They vary by half, so as not to keep step with the items."""

MOST_COST = 0.005
"""Share of a CPU that the samples may take; where stacks are deep there are fewer samples."""

SWITCH = 5e-5
"""Seconds for which the sampling thread waits for the GIL.

With the usual 5 ms, a worker with short items is seen only where it gives the GIL away by itself: between
them.  Several threads that compute would switch as often, which costs them, and are seen elsewhere anyway.
"""

KEEP = 1.0
"""Seconds for which the sampling thread waits for the next call."""

_clock = time.perf_counter

Look = Callable[[FrameType, float], None]
"""Takes the innermost frame of a thread, and the seconds since its last sample."""


class Sampler:
    """Samples threads; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watched: dict[Look, tuple[int, float]] = {}
        """By what looks at its samples: thread, and since when it has rested."""

        self._running = False
        self._usual: float | None = None
        """The process's switch interval, while it is `SWITCH` instead."""

    def watch(self, look: Look) -> None:
        """Sample the calling thread from now on."""
        with self._lock:
            self._watched[look] = (threading.get_ident(), math.inf)
            if not self._running:
                self._running = True
                self._start()

    def rest(self, look: Look) -> None:
        """Sample a thread no more, unless there is another call soon."""
        with self._lock:
            if look in self._watched:
                self._watched[look] = (self._watched[look][0], _clock())

    def forget(self, look: Look) -> None:
        """Sample a thread no more."""
        with self._lock:
            self._watched.pop(look, None)

    def reset(self) -> None:
        """Begin anew, in the child after a fork: the thread has stayed in the parent."""
        self._switch_fast(False)
        self.__init__()  # type: ignore[misc]  # also the lock, which may have been held

    def _start(self) -> None:
        try:
            threading.Thread(target=self._sample, name="nbpar profiler", daemon=True).start()
        except RuntimeError:  # the interpreter is ending
            self._running = False

    def _sample(self) -> None:
        vary = random.Random()  # the items have their own generators
        last, pause, before = _clock(), PERIOD, 0.0
        while True:
            time.sleep(pause * vary.uniform(0.5, 1.5))
            now, begun = _clock(), time.thread_time()
            if not self._look(now, now - last):
                return
            last, cost = now, time.thread_time() - begun
            pause = max(PERIOD, min(before, cost) / MOST_COST)  # one sample may take long for another reason
            before = cost

    def _look(self, now: float, seconds: float) -> bool:
        """Sample all threads once; return whether there are any."""
        with self._lock:
            for look, (_, since) in list(self._watched.items()):
                if now - since > KEEP:
                    del self._watched[look]
            watched = [(look, thread) for look, (thread, _) in self._watched.items()]
            self._running = bool(watched)
        frames = sys._current_frames()  # noqa: SLF001 (documented)
        del frames[threading.get_ident()]  # this frame has it in a variable: it would keep all others alive
        for look, thread in watched:
            if thread in frames:
                look(frames[thread], seconds)
        self._switch_fast(len(watched) == 1)
        return bool(watched)

    def _switch_fast(self, fast: bool) -> None:
        if fast and self._usual is None and sys.getswitchinterval() > SWITCH:
            self._usual = sys.getswitchinterval()
            sys.setswitchinterval(SWITCH)
        elif not fast and self._usual is not None:
            if sys.getswitchinterval() < 2 * SWITCH:  # else the user has set it meanwhile
                sys.setswitchinterval(self._usual)
            self._usual = None


sampler = Sampler()
"""The sampler of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=sampler.reset)
