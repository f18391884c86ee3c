"""Engines as jobs of a Slurm whose commands are on another host, to which ssh leads."""

import os
import re
import socket
import subprocess
import sys

import pytest
from slurm_stage import SlurmStage, slurm_missing

import nbpar
from nbpar.errors import ClusterError
from nbpar.notebook.places import workers_of
from nbpar.testing import until


@pytest.fixture(scope="module")
def slurm(stage):
    """A Slurm whose nodes are this machine; the host `one` is its login node."""
    if lacking := slurm_missing():
        give_up = pytest.fail if os.environ.get("CI") else pytest.skip
        give_up(f"a Slurm on this machine needs {lacking}")
    folder = stage.folder / "slurm"
    folder.mkdir()
    stage.folder.chmod(0o711)  # munge is another user
    with SlurmStage(folder, stage.own_address) as made:
        yield made


@pytest.fixture
def start(slurm, stage):
    """Start clusters of jobs; jobs, files and processes that they leave are a failure."""
    started, folder = [], stage.folder / "jobs"

    def start(n, **options):
        options = {"command": stage.command, "run_folder": folder, "start_timeout": 100, **options}
        started.append(nbpar.Cluster.slurm(n, host="one", **options))
        return started[-1].start()

    yield start
    for cluster in started:
        cluster.stop()
    until(lambda: not slurm.jobs(), 60)
    until(lambda: not folder.exists() or not list(folder.iterdir()), 60)
    until(lambda: not stage.programs("one"), 60)
    assert stage.left_on("one") == []


def job_and_host(_):
    return os.environ["SLURM_JOB_ID"], socket.gethostname()


def test_engines_are_jobs_that_the_login_node_has_submitted(slurm, start, stage):
    cluster = start(2, cpus=2, time="0:30:00", partition="main")
    until(lambda: len(cluster.engines) == 2, 100)

    with nbpar.Pool(cluster=cluster) as pool:
        found = pool.each(job_and_host, None)
        sent = [os.urandom(3_000_000) for _ in range(4)]
        assert pool.map(bytes, sent, chunksize=1) == sent

    assert {job for job, _ in found} == set(slurm.jobs())
    assert {host for _, host in found} == {socket.gethostname()}


def test_what_the_login_node_says_is_told(start):
    with pytest.raises(ClusterError, match=r"Slurm refuses the job: sbatch: error: .*partition.*nosuch"):
        start(1, partition="nosuch")
    with pytest.raises(ClusterError, match=r"the longest time limit in partition short is 0:02:00"):
        start(1, partition="short", time="1:00:00")


def test_the_state_of_the_queue_is_in_the_sentence_about_workers(start):
    cluster = start(5, cpus=2)
    until(lambda: len(cluster.engines) == 3, 100)
    place = nbpar.use(cluster)
    try:
        until(lambda: "is pending (Resources)" in workers_of(place)[1], 60)
        workers, sentence = workers_of(place)
    finally:
        nbpar.use(None)

    assert len(workers) == 3
    assert re.search(r": 3 of 5 engines; 2 jobs are awaited \(.*Resources: \d+.*\); job \d+ is ", sentence)


OWNER = """
import nbpar
cluster = nbpar.Cluster.slurm(2, host="one", command={command}, run_folder={folder!r}, start_timeout=100)
print(len(cluster.start().engines) > 0, flush=True)
input()
"""


def test_no_job_is_left_when_the_owner_is_killed(slurm, start, stage):
    program = OWNER.format(command=stage.command, folder=str(stage.folder / "jobs"))
    owner = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        with owner.stdout:
            assert owner.stdout.readline() == "True\n"
    finally:
        owner.kill()
        owner.stdin.close()
        owner.wait()
