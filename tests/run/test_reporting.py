"""Reports of real runs."""

from __future__ import annotations

import copy
import pickle
import threading
import time

import pytest

import nbpar


@pytest.mark.engines
def test_the_report_of_a_run_on_engines():
    def work(n):
        began = time.monotonic()
        until = began + (0.3 if n == 7 else 0.01)
        while time.monotonic() < until:
            pass
        return time.monotonic() - began, bytes(1000)

    with nbpar.Pool(2, progress="none") as pool:
        results = pool.map(work, range(20), label="burn", chunksize=2)

    report = results.report
    figures = report.figures
    spent = [seconds for seconds, _ in results]
    slowest = spent.index(max(spent))
    assert 0.99 * sum(spent) <= figures.computing <= 2 * report.elapsed
    assert sum(seconds for _, seconds in report.parts) == pytest.approx(2 * report.elapsed, rel=0.1)
    assert 0 < report.efficiency <= 1
    assert figures.packing > 0
    assert figures.packing_here > 0
    assert figures.cpu_of_thread > 0
    assert figures.moved > 20_000
    assert (report.slowest[0].index, report.slowest[0].item) == (slowest, slowest)
    assert repr(report).startswith("burn over 20 items: ")
    assert "<img" in report._repr_html_()
    assert nbpar.last_run.report.elapsed == report.elapsed


def test_an_input_that_is_slow_is_found():
    def items():
        for n in range(5):
            threading.Event().wait(0.05)
            yield n

    with nbpar.Pool(2, backend="threads", progress="none") as pool:
        report = pool.map(abs, items()).report

    assert report.figures.reading > 0.2
    assert "input" in [finding.kind for finding in report.advice]


def test_a_serial_run_has_a_report_too():
    with nbpar.Pool(backend="serial", progress="none") as pool:
        report = pool.map(lambda n: n, range(100)).report

    assert report.figures.workers == 1
    assert report.figures.items == 100


def test_results_travel_without_their_report():
    with nbpar.Pool(backend="serial", progress="none") as pool:
        results = pool.map(abs, [-1, -2])

    for other in (pickle.loads(pickle.dumps(results)), copy.deepcopy(results)):
        assert other == [1, 2]
        assert other.failures == []
        assert other.report is None
