"""A run at a limited rate, with workers and a clock that the test moves."""

from __future__ import annotations

import pytest

from nbpar.core import events
from nbpar.core.rates.rate import Gate, Rate
from nbpar.core.rates.retry import Retry
from nbpar.wire.faults import describe
from nbpar.wire.messages import NO_COSTS, Begun, Call, Done


def fails(item):
    raise ValueError(item)


def begin_at(bench, rate, items, *, fn=str, **how):
    """Begin a run at a rate; what stirs it is as in a pool."""
    record = bench.begin(fn, items, fail_fast=False, **how)
    state = record.job.state
    state.gate = Gate(rate, lambda: bench.dispatcher.stir(state))
    return record


def under_way(bench):
    return sum(len(bench.backend.calls(worker)) for worker in bench.backend.workers)


def sent(bench):
    return sum(type(message) is Call for _, message in bench.backend.sent)


def limits(record):
    return [(event.limited, event.until) for event in record.events if type(event) is events.RateReached]


def test_no_more_is_sent_than_may_begin(bench):
    begin_at(bench, Rate((1, 10)), range(5))
    bench.step()

    assert under_way(bench) == 1


def test_the_next_items_are_sent_when_a_window_has_passed(bench):
    record = begin_at(bench, Rate((1, 10)), range(3))
    bench.step()
    bench.backend.answer_all()
    bench.step()
    assert under_way(bench) == 0

    bench.clock.advance(9.9)
    bench.step()
    assert under_way(bench) == 0

    bench.clock.advance(0.2)
    bench.step()
    assert under_way(bench) == 1
    assert not record.over


def test_the_dispatcher_sleeps_until_then(bench):
    begin_at(bench, Rate((1, 10)), range(3))
    bench.step()
    bench.backend.answer_all()
    bench.step()
    bench.clock.advance(9.9)
    bench.step()

    assert bench.backend.timeouts[-1] == pytest.approx(0.1)


def test_an_item_that_lasts_gives_its_permit_back_when_it_is_known_to_have_begun(bench):
    begin_at(bench, Rate((1, 10)), range(3))
    bench.step()
    [worker] = [worker for worker in bench.backend.workers if bench.backend.calls(worker)]
    call = bench.backend.calls(worker)[0].id
    bench.clock.advance(6.0)
    bench.backend.say(worker, Begun(call, 1, 5.0))
    bench.step()

    bench.clock.advance(5.5)
    bench.step()

    assert under_way(bench) == 2


def test_its_sink_is_told_that_it_waits_for_its_rate(bench):
    record = begin_at(bench, Rate((1, 10)), range(2))
    bench.step()
    assert limits(record) == [(True, None)]

    bench.backend.answer_all()
    bench.step()
    assert limits(record)[-1] == (True, pytest.approx(10.0, abs=0.1))

    bench.clock.advance(11.0)
    bench.step()
    bench.backend.answer_all()
    bench.step()
    assert limits(record)[-1][0] is False or record.over


def test_a_worker_that_dies_leaves_its_permits_for_another_window(bench):
    begin_at(bench, Rate((1, 10)), range(3))
    bench.step()
    [worker] = [worker for worker in bench.backend.workers if bench.backend.calls(worker)]
    bench.backend.lose(worker)
    bench.step()
    assert under_way(bench) == 0

    bench.clock.advance(10.1)
    bench.step()
    assert under_way(bench) == 1


def test_another_pool_gets_the_permits_of_one_that_is_closed(bench):
    rate = Rate((1, 10))
    begin_at(bench, rate, range(3))
    bench.step()
    gate = Gate(rate, lambda: None)
    assert not gate.available(0.0)

    bench.dispatcher.close()

    assert not gate.available(0.0)
    assert gate.take(1, 10.1) == 1


def test_a_failure_that_is_retried_takes_another_permit(bench):
    record = begin_at(bench, Rate((1, 10)), range(1), fn=fails, retry=Retry(1, first=0.0))
    bench.step()
    bench.backend.answer_all()
    bench.step()
    assert under_way(bench) == 0
    assert not record.over

    bench.clock.advance(10.1)
    bench.step()
    assert under_way(bench) == 1


def test_a_server_that_refuses_an_item_shuts_the_rate(bench):
    record = begin_at(bench, Rate((5, 1)), range(9), fn=fails, retry=Retry(1))
    bench.step()
    [call, *_] = bench.backend.calls("worker 0")
    fault = describe(ValueError("too many"), here=True)._replace(after=30.0, status=429)
    done = Done(call.id, call.first, True, False, 0.0, (0.0,), 0, {0: fault}, NO_COSTS, 0, [None])
    bench.backend.say("worker 0", done)
    bench.step()

    number = sent(bench)
    bench.clock.advance(29.0)
    bench.step()
    assert sent(bench) == number
    delayed = [event for event in record.events if type(event) is events.ItemDelayed]
    assert [(event.due, event.why) for event in delayed] == [(30.0, "ValueError 429")]

    bench.clock.advance(1.5)
    bench.step()
    assert sent(bench) > number
