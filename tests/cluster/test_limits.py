"""Contract of the usable CPUs: affinity and quotas count, the user's own limits take precedence."""

import os

import pytest

from nbpar.host.cpus import THREAD_VARIABLES, quota_of, thread_limits, usable_cpus


@pytest.mark.parametrize(
    ("text", "quota"),
    [
        ("150000 100000", 1.5),
        ("max 100000", None),
        ("", None),
        ("-1 100000", None),
        ("0 100000", None),
        ("7", None),
    ],
)
def test_a_cpu_quota_is_read_from_the_control_group(text, quota):
    assert quota_of(text) == quota


def test_at_least_one_cpu_is_usable_and_no_more_than_there_are():
    assert 1 <= usable_cpus() <= (os.cpu_count() or 1)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_affinity_bounds_the_usable_cpus():
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert usable_cpus() == 1
    finally:
        os.sched_setaffinity(0, before)


def test_engines_share_the_cpus():
    limits = thread_limits(2, {}, cpus=8)

    assert limits == dict.fromkeys(THREAD_VARIABLES, "4")


def test_every_engine_gets_one_thread_when_there_are_more_engines_than_cpus():
    assert set(thread_limits(9, {}, cpus=8).values()) == {"1"}


def test_a_limit_of_the_user_wins():
    limits = thread_limits(4, {"MKL_NUM_THREADS": "3"}, cpus=8)

    assert "MKL_NUM_THREADS" not in limits
    assert limits["OPENBLAS_NUM_THREADS"] == "2"


def test_a_general_limit_of_the_user_speaks_for_every_library():
    assert thread_limits(4, {"OMP_NUM_THREADS": "8"}, cpus=8) == {}
