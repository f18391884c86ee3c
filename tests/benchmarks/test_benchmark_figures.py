"""Collaboration: comparing, judging and formatting the benchmarks' figures."""

from __future__ import annotations

import pytest

from benchmarks.figures import memory_section, section, verdicts
from benchmarks.measuring import Growth, Measurement
from benchmarks.table import Row, Section, Verdict, rate, render, render_verdicts
from benchmarks.workloads import WORKLOADS, tiny

WORKLOAD = {workload.key: workload for workload in WORKLOADS}
NAMES = {"nbpar": "nbpar", "nbpar-controller": "remote", "pool": "Pool", "ipyparallel": "ipp"}


def measured(key, peer, *seconds, items=None, problem=""):
    workload = WORKLOAD[key]
    return Measurement(workload, peer, workload.workers or 2, items or workload.items, seconds, problem)


def test_rates_are_compared_whatever_the_number_of_items():
    made = section([measured("noop", "nbpar", 0.5, 1.0), measured("noop", "pool", 1.0, items=1000)], NAMES)

    assert made.columns == ("items", "best", "median", "/ pool")
    assert made.rows[0].cells == ("1,000,000", "2.00 M/s", "1.33 M/s", "2000.00")
    assert made.rows[1].cells[-1] == "1.00"
    assert made.rows[1].note == "fewer items, it is slow"


def test_times_are_compared_with_what_ideal_workers_would_take():
    made = section([measured("busy", "nbpar", 2.1, 2.2), measured("busy", "pool", 1.2, items=2000)], NAMES)

    assert made.columns[-1] == "/ ideal"
    assert [row.cells[-1] for row in made.rows] == ["1.05", "1.20"]


def test_small_maps_are_compared_by_their_medians():
    made = section([measured("small", "nbpar", 0.001, 0.004, 0.005), measured("small", "pool", 0.002)], NAMES)

    assert made.rows[0].cells == ("4", "1.00 ms", "4.00 ms", "2.00")


def test_a_peer_that_failed_has_no_figures():
    made = section([measured("noop", "nbpar", problem="ValueError: no"), measured("noop", "pool")], NAMES)

    assert [(row.cells, row.note) for row in made.rows] == [((), "ValueError: no"), ((), "not measured")]


def test_all_promises_are_judged():
    measurements = [
        measured("noop", "nbpar", 1.0),
        measured("noop", "pool", 0.81),
        measured("single", "nbpar", 1.0, items=10),
        measured("single", "pool", 1.0, items=21),
        measured("single", "nbpar-controller", 1.0, items=3000),
        measured("single", "ipyparallel", 1.0, items=200),
        measured("submit", "nbpar", 1.1),
        measured("submit", "executor", 1.0),
        measured("busy", "nbpar", 2.09),
        measured("small", "nbpar", 0.0031),
    ]
    growths = [Growth("nbpar", 100, 1.0, 10.0, 60.0), Growth("nbpar-threads", 100, 1.0, 10.0, -2.0)]

    judged = verdicts(measurements, growths)

    assert [verdict.kept for verdict in judged] == [True, False, True, False, True, False, False, True]
    assert judged[0].text == "no-op map, nbpar / Pool.map: 0.81 (at least 0.8)"
    assert judged[5].text == "map(f, range(4)) on a warm pool, median: 3.10 ms (at most 3 ms)"


def test_what_was_not_measured_is_not_judged_but_a_failure_is():
    failed = [
        measured("noop", "nbpar", problem="hangs"),
        measured("noop", "pool", 1.0),
        measured("busy", "nbpar", problem="hangs"),
    ]

    judged = verdicts(failed, [Growth("nbpar", 100, 0.0, 0.0, 0.0, "hangs")])

    assert [verdict.kept for verdict in judged] == [False, None, None, None, False, None, False]
    assert judged[0].text.endswith("nbpar failed, hangs")


def test_memory_is_shown_by_its_growth():
    growths = [Growth("nbpar", 1000, 0.5, 1.25, -0.5), Growth("pool", 1000, 0.0, 0.0, 0.0, "hangs")]

    made = memory_section(growths, NAMES)

    assert made.rows[0].cells == ("1,000", "2.00 k/s", "+1.2 MiB", "-0.5 MiB")
    assert made.rows[1] == Row("Pool", note="hangs")


def test_sections_share_their_columns():
    sections = [
        Section("one", ("a", "bb"), (Row("first", ("1", "2")), Row("second", note="broken"))),
        Section("a longer title", ("c",), (Row("third", ("1234",), "slow"),)),
    ]

    assert render(sections).splitlines() == [
        "one                a  bb",
        "  first            1   2",
        "  second        broken",
        "",
        "a longer title     c",
        "  third         1234  slow",
    ]
    assert render([]) == ""


def test_verdicts_are_one_line_each():
    text = render_verdicts([Verdict("fast", True), Verdict("small", False), Verdict("flat", None)])

    assert text.splitlines() == ["PASS  fast", "FAIL  small", "----  flat"]


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (2_040_000, "2.04 M/s"),
        (37_100, "37.1 k/s"),
        (999_900, "1.00 M/s"),
        (234.4, "234 /s"),
        (0.5, "0.50 /s"),
        (150_000, "150 k/s"),
    ],
)
def test_rates_have_three_digits(number, text):
    assert rate(number) == text


def test_tiny_workloads_keep_everything_but_their_size():
    for workload in WORKLOADS:
        assert tiny(workload).items <= min(2000, workload.items)
        assert tiny(workload).key == workload.key
