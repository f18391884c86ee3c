"""Calls submitted one by one, on workers controlled by the test."""

from __future__ import annotations

import itertools
from concurrent.futures import CancelledError

import pytest

from nbpar.core.call_style import Lent
from nbpar.errors import InternalError, PoolClosedError, WorkerDied
from nbpar.run.futures import SubmittedCalls
from nbpar.testing import until
from nbpar.wire.messages import Begin, Call, Cancel, Cut, Load

LIMIT = 30.0


def double(n):
    return 2 * n


def triple(n):
    return 3 * n


class Desk:
    """Calls, and the workers that get them."""

    def __init__(self, bench) -> None:
        self.backend, self.dispatcher, self.clock = bench.backend, bench.dispatcher, bench.clock
        self.calls = SubmittedCalls(bench.dispatcher)
        self._numbers = itertools.count()

    def submit(self, fn, *args):
        load = Load(b"%d" % next(self._numbers), fn.__name__, Lent(fn))
        return self.calls.submit(fn, load, None, args, {})

    def submit_together(self, *fns_and_args):
        """Submit calls of functions that were pickled once each, after a call that was very short."""
        first = self.submit(double, 0)
        self.backend.answer(self.until_sent(0), seconds=1e-6)
        assert first.result(LIMIT) == 0
        self.until_idle()
        loads = {fn: Load(fn.__name__.encode(), fn.__name__, Lent(fn)) for fn, *_ in fns_and_args}
        begin = Begin(self.dispatcher.new_id(), (), (), ())
        with self.calls.lock:  # none is sent before all are here
            return [self.calls.submit(fn, loads[fn], begin, tuple(args), {}) for fn, *args in fns_and_args]

    def until_sent(self, *args):
        """Wait until a worker has a call with these arguments; return who."""
        found = []

        def look():
            found[:] = [w for w in self.backend.workers if (args, {}) in self.backend.items(w)]
            return bool(found)

        until(look, LIMIT, f"{args} was not sent")
        return found[0]

    def until_idle(self):
        """Wait until no job is under way."""
        until(lambda: not len(self.dispatcher._driver.jobs), LIMIT, "the job did not end")

    @property
    def sent(self):
        return [args for call in self.sent_together for args in call]

    @property
    def sent_together(self):
        calls = [message for _, message in self.backend.sent if isinstance(message, Call)]
        return [[item[0] for item in call.items] for call in calls]


@pytest.fixture
def make_desk(make_bench):
    desks = []

    def make(workers=1):
        desks.append(Desk(make_bench(workers, blocking=False)))
        return desks[-1]

    yield make
    for desk in desks:
        desk.dispatcher.close()


def test_calls_that_are_outstanding_together_are_one_job_that_ends_with_them(make_desk):
    desk = make_desk()
    first, second = desk.submit(double, 1), desk.submit(double, 2)
    worker = desk.until_sent(1)

    assert len(desk.dispatcher._driver.jobs) == 1
    desk.backend.answer(worker)
    desk.until_sent(2)
    desk.backend.answer(worker)

    assert [first.result(LIMIT), second.result(LIMIT)] == [2, 4]
    desk.until_idle()
    assert not desk.calls._shared


def test_a_call_that_waits_is_never_sent_when_it_is_cancelled(make_desk):
    desk = make_desk()
    first, second, third = (desk.submit(double, n) for n in (1, 2, 3))
    worker = desk.until_sent(1)

    assert second.cancel()
    desk.backend.answer(worker)
    desk.until_sent(3)
    desk.backend.answer(worker)

    assert [first.result(LIMIT), third.result(LIMIT)] == [2, 6]
    assert desk.sent == [(1,), (3,)]
    desk.until_idle()


def test_a_call_that_runs_is_interrupted_when_it_is_cancelled(make_desk):
    desk = make_desk()
    future = desk.submit(double, 1)
    worker = desk.until_sent(1)
    assert future.running()

    assert future.cancel()

    with pytest.raises(CancelledError):
        future.exception(LIMIT)
    until(lambda: desk.backend.interrupted == [worker], LIMIT, "it was not interrupted")
    assert any(isinstance(message, Cancel) for _, message in desk.backend.sent)
    desk.backend.answer(worker, 0)
    desk.until_idle()
    assert desk.sent == [(1,)]


def test_a_call_that_was_cancelled_is_not_tried_again_when_its_worker_dies(make_desk):
    desk = make_desk(2)
    future, other = desk.submit(double, 1), desk.submit(double, 2)
    worker = desk.until_sent(1)
    desk.until_sent(2)

    future.cancel()
    desk.backend.lose(worker)
    desk.backend.lose(desk.until_sent(2))
    desk.backend.answer(desk.until_sent(2))

    assert other.result(LIMIT) == 4
    desk.until_idle()
    assert desk.sent.count((1,)) == 1


def test_a_worker_that_dies_with_the_last_call_that_was_cancelled_ends_the_job(make_desk):
    desk = make_desk()
    future = desk.submit(double, 1)
    worker = desk.until_sent(1)

    future.cancel()
    desk.backend.lose(worker)

    desk.until_idle()


def test_a_call_that_kills_twice_is_named_and_costs_no_other(make_desk):
    desk = make_desk(1)
    future, other = desk.submit(double, 1), desk.submit(double, 2)

    for _ in range(2):
        desk.backend.lose(desk.until_sent(1))
    desk.backend.answer(desk.until_sent(2))

    with pytest.raises(
        WorkerDied, match="call of double killed its worker when it was tried again"
    ) as caught:
        future.result(LIMIT)
    assert caught.value.index == 0
    assert other.result(LIMIT) == 4


def test_a_function_that_a_worker_has_forgotten_is_sent_again(make_desk):
    desk = make_desk()
    future = desk.submit(double, 1)
    worker = desk.until_sent(1)

    desk.backend.forget(worker)
    until(lambda: desk.sent == [(1,), (1,)], LIMIT, "it was not sent again")
    desk.backend.answer(worker)

    assert future.result(LIMIT) == 2


def test_what_is_outstanding_fails_when_the_pool_is_closed(make_desk):
    desk = make_desk()
    futures = [desk.submit(double, n) for n in (1, 2)]
    desk.until_sent(1)

    desk.dispatcher.close()

    for future in futures:
        with pytest.raises(PoolClosedError, match="closed before the run was over"):
            future.result(LIMIT)
    with pytest.raises(PoolClosedError, match="the pool is closed"):
        desk.submit(double, 3)
    assert not desk.calls._shared


def test_a_call_that_cannot_be_sent_costs_no_other(make_desk, monkeypatch):
    desk = make_desk()
    send = desk.backend.send

    def refuse(worker, messages):
        if any(isinstance(message, Call) and message.items == [((1,), {})] for message in messages):
            raise MemoryError
        send(worker, messages)

    monkeypatch.setattr(desk.backend, "send", refuse)

    future, other = desk.submit(double, 1), desk.submit(double, 2)
    desk.backend.answer(desk.until_sent(2))

    with pytest.raises(InternalError, match="nbpar failed to handle the call of double"):
        future.result(LIMIT)
    assert other.result(LIMIT) == 4
    desk.until_idle()


def test_short_calls_of_a_function_are_sent_together_in_their_order(make_desk):
    desk = make_desk()

    futures = desk.submit_together(*[(double, n) for n in range(1, 41)])
    desk.until_sent(40)

    assert desk.sent == [(n,) for n in range(41)]
    assert len(desk.sent_together) <= 8
    desk.backend.answer_all()
    assert [future.result(LIMIT) for future in futures] == [2 * n for n in range(1, 41)]
    desk.until_idle()
    assert not desk.calls._shared


def test_calls_of_different_functions_are_not_sent_together(make_desk):
    desk = make_desk(1)

    futures = desk.submit_together((double, 1), (double, 2), (triple, 3), (double, 4))
    desk.until_sent(4)

    assert desk.sent_together == [[(0,)], [(1,), (2,)], [(3,)], [(4,)]]
    desk.backend.answer_all()
    assert [future.result(LIMIT) for future in futures] == [2, 4, 9, 8]


def test_a_failure_among_calls_that_were_sent_together_is_its_own(make_desk):
    desk = make_desk(1)

    futures = desk.submit_together((double, 1), (double, None), (double, 3))
    desk.until_sent(3)
    desk.backend.answer_all()

    assert futures[0].result(LIMIT) == 2
    assert futures[2].result(LIMIT) == 6
    with pytest.raises(TypeError, match="unsupported operand") as caught:
        futures[1].result(LIMIT)
    assert "the call double(None) failed" in "".join(caught.value.__notes__)


def test_a_call_that_has_not_begun_is_cancelled_among_others_that_were_sent_with_it(make_desk):
    desk = make_desk(1)
    futures = desk.submit_together(*[(double, n) for n in range(1, 9)])
    worker = desk.until_sent(8)
    desk.backend.answer(worker, 3, final=False)
    assert futures[2].result(LIMIT) == 6

    assert futures[5].cancel()
    until(lambda: desk.sent.count((8,)) == 2, LIMIT, "what was behind it was not sent again")
    desk.backend.answer_all()

    results = [future.result(LIMIT) for future in futures if not future.cancelled()]
    assert results == [2 * n for n in range(1, 9) if n != 6]
    assert desk.sent.count((6,)) == 1
    assert not desk.backend.interrupted
    desk.until_idle()


def test_a_call_that_runs_is_cancelled_among_others_that_were_sent_with_it(make_desk):
    desk = make_desk(1)
    futures = desk.submit_together(*[(double, n) for n in range(1, 9)])
    worker = desk.until_sent(8)
    desk.backend.answer(worker, 3, final=False)
    assert futures[2].result(LIMIT) == 6
    assert futures[3].running()
    assert not futures[4].running()

    assert futures[3].cancel()
    until(lambda: any(isinstance(message, Cut) for _, message in desk.backend.sent), LIMIT, "it was not cut")
    desk.clock.advance(0.1)  # without a word from the worker: it runs this one
    until(lambda: desk.backend.interrupted == [worker], LIMIT, "it was not interrupted")
    desk.backend.answer(worker, 0)
    until(lambda: desk.sent.count((8,)) == 2, LIMIT, "what was behind it was not sent again")
    desk.backend.answer_all()

    results = [future.result(LIMIT) for future in futures if not future.cancelled()]
    assert results == [2 * n for n in range(1, 9) if n != 4]
    assert desk.sent.count((4,)) == 1
    desk.until_idle()


def test_a_call_that_kills_is_found_among_others_that_were_sent_with_it(make_desk):
    desk = make_desk(1)
    futures = desk.submit_together(*[(double, n) for n in range(1, 9)])

    desk.backend.lose(desk.until_sent(8))
    for n in range(1, 9):
        worker = desk.until_sent(n)
        assert desk.backend.items(worker) == [((n,), {})]
        if n == 4:
            desk.backend.lose(worker)
        else:
            desk.backend.answer(worker)

    with pytest.raises(WorkerDied, match="call of double killed its worker when it was tried again"):
        futures[3].result(LIMIT)
    results = [future.result(LIMIT) for place, future in enumerate(futures) if place != 3]
    assert results == [2 * n for n in range(1, 9) if n != 4]


def test_a_call_that_cannot_be_sent_is_found_among_others_that_were_sent_with_it(make_desk, monkeypatch):
    desk = make_desk(1)
    send = desk.backend.send

    def refuse(worker, messages):
        if any(isinstance(message, Call) and ((3,), {}) in message.items for message in messages):
            raise MemoryError
        send(worker, messages)

    monkeypatch.setattr(desk.backend, "send", refuse)

    futures = desk.submit_together(*[(double, n) for n in range(1, 5)])
    for n in (1, 2, 4):
        desk.until_sent(n)
    until(futures[2].done, LIMIT, "it did not fail")
    desk.backend.answer_all()

    with pytest.raises(InternalError, match="nbpar failed to handle the call of double"):
        futures[2].result(LIMIT)
    assert [future.result(LIMIT) for future in futures if future is not futures[2]] == [2, 4, 8]
    desk.until_idle()


def test_an_answer_that_cannot_be_handled_costs_the_calls_in_it(make_desk, monkeypatch):
    desk = make_desk(1)
    futures = desk.submit_together(*[(double, n) for n in range(1, 9)])
    worker = desk.until_sent(8)
    stream = desk.calls._batch
    deliver = stream.deliver

    def refuse(parts):
        monkeypatch.setattr(stream, "deliver", deliver)
        raise MemoryError

    monkeypatch.setattr(stream, "deliver", refuse)
    desk.backend.answer(worker, 3, final=False)

    for future in futures[:3]:
        with pytest.raises(InternalError, match="nbpar failed to handle the call of double"):
            future.result(LIMIT)
    desk.backend.answer(worker)
    assert [future.result(LIMIT) for future in futures[3:]] == [2 * n for n in range(4, 9)]
    desk.until_idle()
