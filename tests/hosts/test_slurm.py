"""Engines as jobs of a real Slurm."""

import os
import re
import subprocess
import sys
import time

import pytest

import nbpar
from nbpar.errors import ClusterError, NoWorkersError
from nbpar.testing import until


@pytest.fixture
def start(slurm, tmp_path):
    """Start clusters of jobs; jobs or files that they leave are a failure."""
    started, folder = [], tmp_path / "shared"

    def start(n, **options):
        options = {"run_folder": folder, "start_timeout": 100, **options}
        started.append(nbpar.Cluster.slurm(n, **options))
        return started[-1].start()

    yield start
    for cluster in started:
        cluster.stop()
    assert not slurm.jobs()
    assert not folder.exists() or not list(folder.iterdir())


def job_and_node(_):
    return os.environ["SLURM_JOB_ID"], os.environ["SLURMD_NODENAME"], os.environ["SLURM_CPUS_PER_TASK"]


def test_each_engine_is_a_job_with_what_it_asks_for(slurm, start):
    cluster = start(2, cpus=2, time="0:30:00", memory="300M", partition="main")
    until(lambda: len(cluster.engines) == 2, 100)

    with nbpar.Pool(cluster=cluster) as pool:
        found = pool.each(job_and_node, None)
    described = slurm.run("squeue", "--noheader", "--format=%l %m %C %P")

    assert {job for job, _, _ in found} == set(slurm.jobs())
    assert len({node for _, node, _ in found}) == 2
    assert {cpus for _, _, cpus in found} == {"2"}
    assert described.splitlines() == ["30:00 300M 2 main"] * 2


def test_engines_that_wait_say_for_what(slurm, start):
    cluster = start(4, cpus=2)

    until(lambda: len(cluster.engines) == 3, 100)
    until(
        lambda: re.search(r"3 of 4 engines, slurm; job \d+ is pending \(Resources\), for ", repr(cluster)), 60
    )


def test_slurms_own_words_for_a_job_that_it_refuses(start):
    with pytest.raises(ClusterError, match=r"Slurm refuses the job: sbatch: error: .*partition.*nosuch"):
        start(2, partition="nosuch")


def test_a_time_limit_that_no_job_of_the_partition_may_have(slurm, start):
    with pytest.raises(
        ClusterError,
        match=r"time= asks for 1:00:00, and the longest time limit in partition short is 0:02:00",
    ):
        start(2, partition="short", time="1:00:00")


def test_a_job_that_would_never_start_is_refused(slurm, start):
    with pytest.raises(ClusterError, match=r"would never start \(PartitionTimeLimit\)"):
        start(1, partition="short", extra=["--time=60"])


def sleep_in_the_first_job(mark):
    if mark.exists():
        return "again"
    mark.touch()
    time.sleep(600)
    return None


def test_a_job_that_is_cancelled_by_hand(slurm, start, tmp_path):
    mark = tmp_path / "begun"
    with nbpar.Pool(cluster=start(1)) as pool:
        run = pool.map_async(sleep_in_the_first_job, [mark])
        until(mark.exists, 60)
        (job,) = slurm.jobs()
        slurm.run("scancel", job)

        with pytest.raises(NoWorkersError, match=f"job {job}: it was cancelled"):
            run.get(60)
        assert pool.map(abs, [-1]) == [1]

    assert job not in slurm.jobs()


@pytest.mark.nightly
def test_a_job_that_reaches_its_time_limit(slurm, start, tmp_path):
    mark = tmp_path / "begun"
    with nbpar.Pool(cluster=start(1, time=60, heal=False)) as pool:
        run = pool.map_async(sleep_in_the_first_job, [mark])

        with pytest.raises(NoWorkersError, match=r"job \d+: it reached its time limit"):
            run.get(200)


def test_no_job_is_left_when_the_owner_is_killed(slurm, tmp_path):
    program = (
        "import nbpar, time\n"
        f"cluster = nbpar.Cluster.slurm(4, cpus=2, run_folder={str(tmp_path)!r}).start()\n"
        "run = nbpar.Pool(cluster=cluster).map_async(time.sleep, [600] * 9, progress='none')\n"
        "print('running', flush=True)\n"
        "run.get()\n"
    )
    owner = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    try:
        with owner.stdout:
            assert owner.stdout.readline() == "running\n"
        assert len(slurm.jobs()) == 4
    finally:
        owner.kill()
        owner.wait()

    until(lambda: not slurm.jobs(), 60)
    until(lambda: not list(tmp_path.iterdir()), 60)
