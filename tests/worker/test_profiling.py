"""Sampled stacks, and peaks of memory."""

from __future__ import annotations

import sys
import threading
import time

import pytest

from nbpar.worker.profiling import sampler as samplers
from nbpar.worker.profiling import stacks
from nbpar.worker.profiling.peaks import PeakMemory
from nbpar.worker.profiling.sampler import Sampler
from nbpar.worker.profiling.stacks import StackSamples, frames_of, without_own


def this_stack():
    return frames_of(sys._getframe())[-2:]


def test_equal_stacks_are_sent_once_with_their_seconds():
    samples = StackSamples(7)
    for _ in range(3):
        samples.add(this_stack(), 0.5)

    message = samples.take()

    assert (message.run, message.samples, message.left_out) == (7, 3, 0.0)
    ((numbers, seconds),) = message.stacks
    assert seconds == 1.5
    assert [message.places[number][1] for number in numbers] == [
        "test_equal_stacks_are_sent_once_with_their_seconds", "this_stack"
    ]  # fmt: skip
    assert samples.take() is None


def test_too_many_stacks_are_left_out_and_deep_ones_are_cut(monkeypatch):
    monkeypatch.setattr(stacks, "MOST_STACKS", 1)
    monkeypatch.setattr(stacks, "MOST_LINES", 1)
    monkeypatch.setattr(stacks, "DEEPEST", 4)

    def deep(n):
        return deep(n - 1) if n else frames_of(sys._getframe())

    samples = StackSamples(1)
    samples.add(deep(20), 1.0)
    samples.add(this_stack(), 2.0)

    message = samples.take()
    assert [(len(numbers), seconds) for numbers, seconds in message.stacks] == [(4, 1.0)]
    assert message.left_out == 2.0


def test_frames_of_packages_at_the_outer_end_are_left_out():
    frames = this_stack()

    assert without_own(frames) == frames
    assert without_own(frames, (__name__,)) == ()


def test_a_thread_is_sampled_until_it_is_forgotten_and_the_sampler_ends_then(monkeypatch):
    monkeypatch.setattr(samplers, "KEEP", 0.0)
    sampler, seen = Sampler(), threading.Event()

    def look(frame, seconds):
        assert seconds > 0
        seen.set()

    sampler.watch(look)
    assert seen.wait(60)
    sampler.rest(look)
    _until(lambda: not sampler._running)
    seen.clear()
    sampler.watch(look)
    assert seen.wait(60)
    sampler.forget(look)
    _until(lambda: not sampler._running)


def test_a_sampler_in_a_fork_begins_anew():
    sampler = Sampler()
    sampler._lock.acquire()
    sampler._running = True

    sampler.reset()

    assert not sampler._running
    assert sampler._lock.acquire(blocking=False)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere only the memory at both ends is known")
def test_spans_that_overlap_have_the_peak_of_their_own_time(monkeypatch):
    monkeypatch.setattr("nbpar.worker.profiling.peaks.EVERY", 0.0)
    memory = PeakMemory()
    try:
        outer = memory.begin()
        before = outer.peak
        large = bytearray(100 << 20)
        del large
        inner = memory.begin()

        assert memory.lap(inner) - before < 50 << 20
        assert memory.end(inner) - before < 50 << 20
        assert memory.end(outer) - before > 90 << 20
    finally:
        memory.restart()


def test_without_the_kernels_figures_the_memory_at_both_ends_counts(monkeypatch):
    def refuse(*_):
        raise PermissionError("not here")

    monkeypatch.setattr("os.pwrite", refuse)
    memory = PeakMemory()

    assert memory.end(memory.begin()) > 1 << 20


def _until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
