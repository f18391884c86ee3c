"""The number of CPUs, and how long threads wait for one."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nbpar.diagnostics import doctor
from nbpar.host.cpus import ThreadClock, cores, cpu_limits, default_workers, queued_seconds, usable_cpus
from nbpar.host.memory import whole_memory

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


@pytest.mark.parametrize(
    ("environment", "number", "source"),
    [
        ({"CPU_LIMIT": "0.5"}, 0.5, "CPU_LIMIT"),
        ({"SLURM_CPUS_PER_TASK": "1", "CPU_LIMIT": "2000"}, 1.0, "SLURM_CPUS_PER_TASK"),
        ({"PYTHON_CPU_COUNT": "1"}, 1.0, "PYTHON_CPU_COUNT"),
    ],
)
def test_the_lowest_limit_of_cpus_counts(many_cores, environment, number, source):
    assert cpu_limits(environment)[0] == (number, source)


@pytest.mark.parametrize("value", ["default", "", "0", "-2", "nan", "inf", "2 CPUs"])
def test_a_variable_without_a_number_limits_nothing(value):
    names = ("CPU_LIMIT", "SLURM_CPUS_PER_TASK", "PYTHON_CPU_COUNT")

    assert cpu_limits(dict.fromkeys(names, value)) == cpu_limits({})


@pytest.fixture
def many_cores(monkeypatch):
    """As if there were more cores, and no quota."""
    monkeypatch.setattr("nbpar.host.cpus.cores", lambda: 64)
    monkeypatch.setattr("nbpar.host.cpus._quotas", lambda: iter(()))


def test_the_environment_decides_how_many_workers_there_are_by_default(many_cores, monkeypatch):
    monkeypatch.setenv("CPU_LIMIT", "2.5")
    assert (usable_cpus(), default_workers()) == (3, 3)

    monkeypatch.setenv("NBPAR_MAX_WORKERS", "2")
    assert (usable_cpus(), default_workers()) == (3, 2)

    monkeypatch.setenv("NBPAR_MAX_WORKERS", "0.5")
    assert default_workers() == 1

    monkeypatch.setenv("NBPAR_MAX_WORKERS", "many")
    assert default_workers() == 3


def test_the_doctor_tells_where_the_number_of_cpus_comes_from(many_cores, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    monkeypatch.setenv("CPU_LIMIT", "2.5")
    monkeypatch.setenv("NBPAR_MAX_WORKERS", "1")

    assert doctor._cpus().found.startswith(
        "3 usable of 64 (by CPU_LIMIT 2.5); 1 worker by default, by NBPAR_MAX_WORKERS"
    )


def test_the_memory_that_a_hub_allows_counts_as_the_machines(monkeypatch):
    monkeypatch.setenv("MEM_LIMIT", "123456")
    assert whole_memory() == 123456

    monkeypatch.setenv("MEM_LIMIT", "plenty")
    assert whole_memory() > 123456
