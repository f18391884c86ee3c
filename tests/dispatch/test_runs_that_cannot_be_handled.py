"""Bugs, inputs and answers that make it impossible to handle a run end that run, and no other."""

from __future__ import annotations

import pytest
from manual_backend import ManualBackend

from nbpar.core.source import SequenceSource
from nbpar.errors import InternalError
from nbpar.wire.messages import NO_COSTS, Call, Done, Output


def double(x):
    return 2 * x


class Broken(SequenceSource):
    """An input that breaks when it is asked for one thing."""

    def __init__(self, what):
        super().__init__(range(6))
        self.what = what

    def take(self, limit, *, eager):
        self.fail("take")
        return super().take(limit, eager=eager)

    def want(self, total):
        self.fail("want")

    def close(self):
        self.fail("close")

    def fail(self, what):
        if what == self.what:
            raise SystemExit("of the input")


@pytest.mark.parametrize("what", ["take", "want", "close"])
def test_an_input_that_breaks_ends_its_own_run(bench, what):
    innocent = bench.begin(double, range(6))
    broken = bench.begin(double, Broken(what))

    bench.run(innocent, broken)

    assert isinstance(broken.error, InternalError)
    assert "SystemExit: of the input" in str(broken.error)
    assert innocent.results == [0, 2, 4, 6, 8, 10]


def test_lists_of_an_input_that_shrink_meanwhile_end_its_own_run(bench):
    first, second = list(range(40)), list(range(40))
    shrinking = bench.begin(double, SequenceSource(first, second), chunksize=8)
    innocent = bench.begin(double, range(6))
    bench.step(1)

    second.clear()
    bench.run(shrinking, innocent)

    assert isinstance(shrinking.error, InternalError)
    assert innocent.results == [0, 2, 4, 6, 8, 10]


class PickyBackend(ManualBackend):
    """Cannot send a message with a certain item."""

    def send(self, worker, messages):
        if any(isinstance(message, Call) and "bad" in message.items for message in messages):
            raise MemoryError("too large")
        super().send(worker, messages)


def test_a_chunk_that_cannot_be_sent_ends_its_own_run(make_bench):
    bench = make_bench(1)
    bench.backend.__class__ = PickyBackend
    bad = bench.begin(double, ["fine", "bad"], chunksize=1)
    innocent = bench.begin(double, range(6))

    bench.run(bad, innocent)

    assert "this process has too little memory" in str(bad.error)
    assert innocent.results == [0, 2, 4, 6, 8, 10]


def test_output_that_cannot_be_used_ends_its_own_run(bench):
    run = bench.begin(double, range(2))
    innocent = bench.begin(double, range(2))
    bench.step()
    [call, *_] = bench.backend.calls("worker 0")

    bench.backend.say("worker 0", Output(call.id, ((0, "log", {}),)))
    bench.run(run, innocent)

    assert [type(record.error) for record in (run, innocent)].count(InternalError) == 1


def test_an_outcome_beyond_the_end_of_a_chunk_is_left_out(bench):
    run = bench.begin(double, [1, 2, 3], chunksize=3, fail_fast=False)
    bench.step()
    [call] = bench.backend.calls("worker 0") + bench.backend.calls("worker 1")
    fault = bench.backend._here["worker 0"].compute(call._replace(items=[None]), 0, 1)[1][0]

    bench.backend.say("worker 0", Done(
        call.id, 0, True, False, 0.0, (0.1, 0.1, 0.1, 0.1), 0, {3: fault}, NO_COSTS, 0, [2, 4, 6, None]
    ))  # fmt: skip
    bench.step()

    assert run.results == [2, 4, 6]
    assert run.error is None


def test_a_worker_that_answers_for_other_items_is_replaced_and_costs_nothing(make_bench):
    bench = make_bench(1)
    run = bench.begin(double, [1, 2, 3], chunksize=3)
    bench.step()
    [call] = bench.backend.calls("worker 0")

    bench.backend.say("worker 0", Done(call.id, 2, True, False, 0.0, (), 0, {}, NO_COSTS, 0, [6]))
    bench.run(run)

    assert bench.backend.killed == ["worker 0"]
    assert run.results == [2, 4, 6]


def test_a_worker_that_answers_for_other_items_and_cannot_be_replaced_costs_the_run(make_bench):
    bench = make_bench(1)
    bench.backend.kill = lambda worker, reason: False
    run = bench.begin(double, [1, 2, 3], chunksize=3)
    innocent = bench.begin(double, [4])
    bench.step()
    call = next(call for call in bench.backend.calls("worker 0") if len(call.items) == 3)
    bench.backend._here["worker 0"].calls.remove(call)

    bench.backend.say("worker 0", Done(call.id, 2, True, False, 0.0, (), 0, {}, NO_COSTS, 0, [6]))
    bench.run(run, innocent)

    assert "it answered for item 2 where item 0 was due" in str(run.error)
    assert innocent.results == [8]
