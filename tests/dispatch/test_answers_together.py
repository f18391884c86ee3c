"""Outcomes that arrive together are delivered together, and none is late for the end of its run."""

from __future__ import annotations

from nbpar.errors import InternalError


def double(x):
    return 2 * x


def fails_at_1(x):
    if x == 1:
        raise ValueError(x)
    return x


def recorded(run):
    """Return a list that gets what a run is told together: the indices of the first items of its parts."""
    told, deliver = [], run.deliver

    def deliver_and_note(parts):
        told.append([part.first for part in parts])
        deliver(parts)

    run.deliver = deliver_and_note
    return told


def test_answers_of_several_workers_are_delivered_once(make_bench):
    bench = make_bench(4)
    run = bench.begin(double, range(4))
    told = recorded(run)
    bench.step()

    bench.backend.answer_all()
    bench.step()

    assert [sorted(first) for first in told] == [[0, 1, 2, 3]]
    assert run.results == [0, 2, 4, 6]


def test_what_came_before_a_failure_that_ends_the_run_is_kept(bench):
    run = bench.begin(fails_at_1, range(2))
    bench.step()

    bench.backend.answer_all()
    bench.step()

    assert type(run.error) is ValueError
    assert run.results[0] == 0


def test_what_came_before_an_answer_that_cannot_be_handled_is_kept(bench):
    def keep(first, values, failed):
        if first == 1:
            raise ZeroDivisionError((values, failed))

    run = bench.begin(double, range(2), keep=keep)
    bench.step()
    bench.backend.answer_all()
    bench.step()

    assert type(run.error) is InternalError
    assert [part.values for part in run.parts] == [[0]]


def test_a_run_whose_outcomes_cannot_be_delivered_ends_alone(bench):
    bad, good = bench.begin(double, range(1)), bench.begin(double, range(1))

    def deliver(parts):
        raise ZeroDivisionError(len(parts))

    bad.deliver = deliver
    bench.step()
    bench.backend.answer_all()
    bench.step()

    assert type(bad.error) is InternalError
    assert (good.error, good.results) == (None, [0])
