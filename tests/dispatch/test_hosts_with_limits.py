"""Runs whose items need something of hosts of which only their workers know."""

from __future__ import annotations

import pytest

from nbpar.core.scheduling.needs import Claim, Needs

GB = 10**9


@pytest.fixture
def begin(make_bench):
    """Begin a run whose items need 2 GB, on workers of other hosts with a number of GB."""

    def begin(*sizes):
        bench = make_bench(len(sizes), comes=False)
        record = bench.begin(str, range(6), fail_fast=False)
        state = record.job.state
        state.claim = Claim(Needs(2 * GB), lambda: bench.dispatcher.stir(state))
        for number, size in enumerate(sizes):
            limits = (f"share of {size}", size * GB, 4)
            bench.backend.come(f"worker {number}", host=f"node{size}", limits=limits)
        bench.step()
        return bench, record

    return begin


def sent(bench):
    return [len(bench.backend.calls(worker)) for worker in sorted(bench.backend.workers)]


def test_each_host_has_limits_of_its_own(begin):
    bench, record = begin(1, 2, 5)

    assert sent(bench) == [0, 1, 1]

    bench.run(record)
    assert len(record.results) == 6


def test_workers_of_one_host_share_it(begin):
    bench, record = begin(2, 2, 2)

    assert sum(sent(bench)) == 1

    bench.run(record)
    assert len(record.results) == 6


def test_a_run_that_fits_nowhere_fails_when_no_more_workers_are_expected(begin):
    bench, record = begin()
    bench.expected = True
    bench.backend.come("worker 0", host="node1", limits=("share of 1", GB, 4))
    bench.clock.advance(1.0)
    bench.step()
    assert not record.over

    bench.expected = False
    bench.clock.advance(1.0)
    bench.step()

    [error] = record.ends
    assert isinstance(error, ValueError)
    assert str(error).startswith("an item needs 2.0 GB, host node1 has 1.0 GB: it could never begin")


def test_it_goes_on_with_the_others(begin):
    bench, record = begin(1)
    plain = bench.begin(str, range(3))
    bench.clock.advance(1.0)
    bench.run(record, plain)

    assert isinstance(record.ends[0], ValueError)
    assert plain.ends == [None]
