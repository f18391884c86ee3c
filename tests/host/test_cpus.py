"""The number of CPUs, and how long threads wait for one."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nbpar.host.cpus import ThreadClock, cores, queued_seconds

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system does not tell")


def test_the_cores_are_those_that_this_process_may_use():
    assert cores() == len(os.sched_getaffinity(0))


@pytest.fixture
def one_core_for_two():
    """Share one core with a process that is always busy."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    yield
    other.kill()
    other.wait()
    os.sched_setaffinity(0, allowed)


@pytest.mark.skipif(not Path("/proc/thread-self/schedstat").exists(), reason="this system does not tell")
def test_the_wait_for_a_core_is_told_from_the_use_of_it(one_core_for_two):
    before, cpu, began = queued_seconds(), time.thread_time(), time.perf_counter()
    limit = began + 60
    with ThreadClock() as clock:
        start = clock.running()
        while queued_seconds() - before < 0.2 and time.perf_counter() < limit:
            pass
        running = clock.running() - start
    elapsed, cpu = time.perf_counter() - began, time.thread_time() - cpu

    assert queued_seconds() - before >= 0.2
    assert cpu - 0.1 < running < elapsed - 0.1  # above `cpu` by what the machine itself did not get
