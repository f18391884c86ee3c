"""Stop reaches what a worker begins a moment after it was told, too."""

from __future__ import annotations

from nbpar.errors import StoppedError
from nbpar.wire.messages import Cancel


def double(x):
    return 2 * x


def deaf_to_cancel(bench):
    """Have workers begin calls before they hear that they must not."""
    send = bench.backend.send
    bench.backend.send = lambda worker, messages: send(
        worker, [message for message in messages if not isinstance(message, Cancel)]
    )


def test_a_call_that_begins_while_it_is_stopped_is_interrupted_and_in_the_end_killed(make_bench):
    bench = make_bench(1)
    run = bench.begin(double, range(9))
    bench.step()
    bench.backend.answer("worker 0")
    bench.step()
    assert len(bench.backend.calls("worker 0")) > 1
    deaf_to_cancel(bench)

    bench.dispatcher.stop(run.job, StoppedError("stopped"))
    bench.step()
    bench.backend.answer("worker 0")  # it was over when the interrupt came, and the next one begins
    bench.step()
    bench.clock.advance(0.1)
    bench.step()
    assert bench.backend.interrupted == ["worker 0"] * 2

    bench.clock.advance(1.0)
    bench.step()
    assert bench.backend.killed == ["worker 0"]
