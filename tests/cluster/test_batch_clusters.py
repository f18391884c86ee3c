"""Engines in jobs of batch systems, whose commands are stand-ins that run jobs on this machine."""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from batch_commands import COMMANDS, BatchFolder

import nbpar
from nbpar.errors import ClusterError, NoWorkersError
from nbpar.host.machine import this_process
from nbpar.testing import until

pytestmark = pytest.mark.engines


@pytest.fixture
def batch(tmp_path, monkeypatch):
    """Make a batch system of that name; jobs that it still runs after the test are a failure."""
    made = []

    def make(system="slurm"):
        made.append(BatchFolder(tmp_path / system))
        monkeypatch.setenv("PATH", f"{made[-1].install(system)}:{os.environ['PATH']}")
        return made[-1]

    yield make
    for one in made:
        until(lambda one=one: not one.running(), 60)


@pytest.fixture
def run_folder(tmp_path):
    """A folder for jobs; what is left there after the test is a failure."""
    folder = tmp_path / "shared"
    yield folder
    until(lambda: not folder.exists() or not list(folder.iterdir()), 60)


@pytest.fixture
def start(run_folder):
    """Start clusters that end with the test."""
    started = []

    def start(n, system="slurm", **options):
        options = {"run_folder": str(run_folder), "start_timeout": 60, **options}
        started.append(nbpar.Cluster(n, engines=system, **options))
        return started[-1].start()

    yield start
    for cluster in started:
        cluster.stop()


def systems():
    """All of them, of which two are alike enough to be tested at night only."""
    nightly = {"lsf": pytest.mark.nightly, "sge": pytest.mark.nightly}
    return [pytest.param(system, marks=nightly.get(system, ())) for system in COMMANDS]


@pytest.mark.parametrize("system", systems())
def test_engines_are_jobs_of_any_batch_system(batch, start, run_folder, system):
    jobs = batch(system)
    cluster = start(2, system, env={"COLOR": "blue"}, cpus=3)
    until(lambda: len(cluster.engines) == 2, 60)

    with nbpar.Pool(cluster=cluster) as pool:
        assert pool.map(abs, range(-4, 0)) == [4, 3, 2, 1]
        found = pool.each(lambda: (os.environ["COLOR"], os.environ["OMP_NUM_THREADS"], str(Path.cwd())))
    cluster.stop()

    assert found == [("blue", "3", str(Path.cwd()))] * 2
    assert [job["state"] for job in jobs.jobs().values()] == ["CANCELLED", "CANCELLED"]
    assert not jobs.running()
    assert list(run_folder.iterdir()) == []


@pytest.mark.skipif(not Path("/proc/net/if_inet6").exists(), reason="this machine has no IPv6")
def test_nodes_that_speak_only_ipv6_take_part(batch, start):
    jobs = batch()
    jobs.speak_ipv6()
    cluster = start(1)

    with nbpar.Pool(cluster=cluster) as pool:
        assert pool.map(abs, range(-4, 0)) == [4, 3, 2, 1]
        assert pool.imap(len, [bytes(3_000_000)]).__next__() == 3_000_000


def test_nothing_is_written_to_the_current_folder(batch, start, tmp_path, monkeypatch):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    batch()

    start(1).stop()

    assert list(here.iterdir()) == []


def test_the_wait_for_a_job_that_does_not_start_is_bounded_and_explained(batch, start):
    jobs = batch()
    jobs.allow(0)

    with pytest.raises(
        ClusterError,
        match=r"0 of 2 engines came up: they did not come within 12 s \(2 jobs are "
        r"awaited \(2 Resources: 101, 102\); job 101 is pending \(Resources\), for \d+ s\)",
    ):
        start(2, start_timeout=12)

    assert [job["state"] for job in jobs.jobs().values()] == ["CANCELLED", "CANCELLED"]


def test_jobs_that_would_never_start_are_refused_at_once(batch, start):
    jobs = batch()
    jobs.allow(0)
    jobs.wait_for("PartitionTimeLimit")

    with pytest.raises(
        ClusterError,
        match=r"Slurm refuses the job: job 10[12] would never start \(PartitionTimeLimit\): its",
    ):
        start(2)

    # one when it is refused, the other at the end of what watches them
    until(lambda: [job["state"] for job in jobs.jobs().values()] == ["CANCELLED", "CANCELLED"], 60)


def test_a_time_limit_beyond_the_partitions_is_refused_before_a_job_is_submitted(batch, start):
    jobs = batch()
    jobs.limit("short*|30:00", "long|2-00:00:00")

    with pytest.raises(
        ClusterError,
        match=r"time= asks for 1:00:00, and the longest time limit in partition short is 0:30:00; ask ",
    ):
        start(3, time="1:00:00")

    assert not jobs.jobs()
    start(1, time="0:30:00")


def test_a_command_that_hangs_keeps_no_cluster_and_leaves_no_job(batch, start):
    jobs = batch()
    jobs.allow(0)
    jobs.hang()

    with pytest.raises(ClusterError, match=r"a job is being submitted, for \d+ s"):
        start(2, start_timeout=3)

    assert [job["state"] for job in jobs.jobs().values()] == ["CANCELLED"]


def test_engines_take_part_in_a_run_as_their_jobs_start(batch, start, tmp_path):
    jobs = batch()
    jobs.allow(1)
    cluster = start(2)
    until(lambda: "is pending (Resources)" in repr(cluster), 60)
    seen = set()
    with nbpar.Pool(cluster=cluster) as pool:
        run = pool.map_async(wait_for_file, [tmp_path / "seen"])
        until(
            lambda: run.snapshot.note.startswith("1 of 2 engines; job 102 is pending (Resources), for "), 60
        )
        (tmp_path / "seen").touch()
        run.get()
        for pid in pool.imap_unordered(own_pid, itertools.count(), chunksize=1):
            seen.add(pid)
            jobs.allow(2)
            if len(seen) == 2:
                break

    assert len(cluster.engines) == 2
    assert "pending" not in repr(cluster)


def wait_for_file(path):
    while not path.exists():
        time.sleep(0.05)


def own_pid(_):
    time.sleep(0.01)
    return os.getpid()


def test_a_job_that_is_refused_is_told_at_once_in_the_systems_words(batch, start):
    jobs = batch()
    jobs.refuse("sbatch: error: invalid partition specified: nosuch")

    with pytest.raises(
        ClusterError, match="0 of 2 engines came up: Slurm refuses the job: sbatch: error: invalid"
    ):
        start(2, partition="nosuch")

    assert jobs.jobs() == {}


def test_a_system_that_is_not_there_is_named(start, monkeypatch):
    with pytest.raises(
        ClusterError, match="LSF refuses the job: there is no command 'bsub' here; is this a login"
    ):
        start(1, "lsf")


def test_the_item_of_a_job_that_reaches_its_time_limit_is_tried_again_in_another_job(batch, start, tmp_path):
    jobs = batch()
    mark = tmp_path / "begun"
    with nbpar.Pool(cluster=start(1)) as pool:
        run = pool.map_async(wait_the_first_time, [mark])
        until(mark.exists, 60)
        jobs.end(101, "TIMEOUT")

        assert run.get(60) == ["again"]

    assert sorted(jobs.jobs()) == [101, 102]


def wait_the_first_time(mark):
    if mark.exists():
        return "again"
    mark.touch()
    time.sleep(600)
    return None


@pytest.mark.parametrize(
    ("state", "words"), [("TIMEOUT", "it reached its time limit"), ("NODE_FAIL", "its node failed")]
)
@pytest.mark.nightly
def test_the_end_of_a_job_is_explained(batch, start, tmp_path, state, words):
    jobs = batch()
    mark = tmp_path / "begun"
    cluster = start(1, heal=False)
    with nbpar.Pool(cluster=cluster) as pool:
        run = pool.map_async(wait_the_first_time, [mark])
        until(mark.exists, 60)
        jobs.end(101, state)

        with pytest.raises(NoWorkersError, match=f"job 101: {words}"):
            run.get(60)


def test_a_cancelled_job_is_not_asked_for_again_before_the_next_run(batch, start, tmp_path):
    jobs = batch()
    mark = tmp_path / "begun"
    with nbpar.Pool(cluster=start(1)) as pool:
        run = pool.map_async(wait_the_first_time, [mark])
        until(mark.exists, 60)
        jobs.end(101, "CANCELLED")

        with pytest.raises(NoWorkersError, match="job 101: it was cancelled"):
            run.get(60)
        before = sorted(jobs.jobs())
        assert pool.map(abs, [-1]) == [1]

    assert before == [101]
    assert sorted(jobs.jobs()) == [101, 102]


def test_an_engine_that_dies_is_replaced_in_its_job(batch, start):
    jobs = batch()
    cluster = start(1)
    with nbpar.Pool(cluster=cluster) as pool:
        results = pool.map(lambda i: os._exit(3) if i == 1 else i, range(3), chunksize=1, errors="collect")

    assert [failure.index for failure in results.failures] == [1]
    assert "exit code 3" in str(results.failures[0].exception)
    assert sorted(jobs.jobs()) == [101]


def test_a_cluster_grows_and_shrinks_by_jobs(batch, start):
    jobs = batch()
    cluster = start(1)

    cluster.resize(3)
    until(lambda: len(cluster.engines) == 3, 60)
    cluster.resize(1)

    until(lambda: len(jobs.running()) == 1, 60)
    assert len(cluster.engines) == 1


@pytest.mark.nightly
def test_pending_jobs_are_cancelled_when_they_are_not_wanted_any_more(batch, start):
    jobs = batch()
    jobs.allow(1)
    cluster = start(3)

    cluster.resize(1)

    until(lambda: [job["state"] for job in jobs.jobs().values()] == ["RUNNING", "CANCELLED", "CANCELLED"], 60)


OWNER = """
import nbpar, time
cluster = nbpar.Cluster(2, engines="slurm", run_folder={folder!r}).start()
pool = nbpar.Pool(cluster=cluster)
run = pool.map_async(time.sleep, [600] * 9, progress="none")
print("running", flush=True)
run.get()
"""


def test_no_job_is_left_when_the_owner_is_killed(batch, run_folder):
    jobs = batch()
    jobs.allow(1)
    program = OWNER.format(folder=str(run_folder))
    owner = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    try:
        with owner.stdout:
            assert owner.stdout.readline() == "running\n"
        assert jobs.running() == [101]
    finally:
        owner.kill()
        owner.wait()

    until(lambda: [job["state"] for job in jobs.jobs().values()] == ["CANCELLED", "CANCELLED"], 60)
    until(lambda: not jobs.running(), 60)


def test_engines_and_jobs_end_when_the_watching_process_is_killed(batch, start, run_folder):
    jobs = batch()
    cluster = start(1)
    (owner,) = run_folder.glob("*/owner")
    os.kill(json.loads(owner.read_text())["pid"], signal.SIGKILL)

    until(lambda: cluster.problem, 60)
    until(lambda: not jobs.running(), 60)
    assert cluster.problem.startswith("the process that watches the Slurm jobs ended: ")
    cluster.restart()
    with nbpar.Pool(cluster=cluster) as pool:
        assert pool.map(abs, [-1]) == [1]


def test_a_python_that_is_not_on_the_nodes(batch, start):
    batch()

    with pytest.raises(
        ClusterError, match="job 101: there is no 'nosuch' there; name another one with python="
    ):
        start(1, python="nosuch")


def test_a_folder_for_jobs_that_cannot_be_made(batch, start):
    batch()

    with pytest.raises(
        ClusterError, match=r"no folder for jobs can be made: .*name one that the nodes share"
    ):
        start(1, run_folder="/proc/nosuch")


def test_modules_that_cannot_be_preloaded_are_named(batch, start):
    batch()

    with pytest.raises(ClusterError, match="cannot preload 'nosuch': ModuleNotFoundError"):
        start(1, preload=["nosuch"])


@pytest.mark.nightly
def test_a_stopped_cluster_can_be_started_again(batch, start):
    jobs = batch()
    cluster = start(1)
    cluster.stop()

    cluster.start()

    assert len(cluster.engines) == 1
    assert [job["state"] for job in jobs.jobs().values()] == ["CANCELLED", "RUNNING"]


@pytest.mark.nightly
def test_only_their_user_can_read_what_jobs_need(batch, start, run_folder):
    batch()
    start(1)

    (folder,) = run_folder.iterdir()
    files = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}
    assert folder.stat().st_mode & 0o777 == 0o700
    assert files["meeting"] == files["program"] == 0o600


@pytest.mark.nightly
def test_what_killed_owners_have_left_is_removed(batch, start, run_folder):
    left = run_folder / "nbpar-jobs-old"
    left.mkdir(parents=True)
    (left / "owner").write_text(json.dumps({**this_process(), "pid": gone_pid()}))
    elsewhere = run_folder / "nbpar-jobs-of-a-clone"
    elsewhere.mkdir()
    (elsewhere / "owner").write_text(json.dumps({**this_process(), "pid": gone_pid(), "machine": "another"}))
    batch()

    start(1)

    assert not left.exists()
    assert elsewhere.exists()
    shutil.rmtree(elsewhere)


def gone_pid():
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_options_of_ipyparallel_lead_to_its_own_launcher():
    assert nbpar.Cluster(2, engines="slurm", profile="x")._engines == "slurm"


FAR = """#!/bin/sh
# An ssh client whose hosts are this machine, in another folder and with another name for the run.
while [ "$1" != "--" ]; do shift; done
[ "$2" = login01 ] || { echo "ssh: Could not resolve hostname $2" >&2; exit 255; }
shift 2
cd / && FAR=yes exec setsid sh -c "$1"
"""


@pytest.fixture
def ssh(tmp_path):
    """An ssh client that leads to a login node."""
    client = tmp_path / "ssh"
    client.write_text(FAR)
    client.chmod(0o755)
    return str(client)


def test_jobs_are_submitted_on_a_login_node_through_ssh(batch, start, ssh):
    jobs = batch()
    cluster = start(2, host="login01", command=ssh)
    until(lambda: len(cluster.engines) == 2, 60)

    with nbpar.Pool(cluster=cluster) as pool:
        assert pool.map(len, [b"x" * 3_000_000, b""]) == [3_000_000, 0]
        assert pool.each(lambda: os.environ["FAR"]) == ["yes", "yes"]
        assert len(pool.map(bytes, [3_000_000])[0]) == 3_000_000
    cluster.stop()

    assert [job["state"] for job in jobs.jobs().values()] == ["CANCELLED", "CANCELLED"]


def test_jobs_end_with_the_connection_to_the_login_node(batch, start, ssh):
    jobs = batch()
    cluster = start(1, host="login01", command=ssh)
    controller = psutil.Process(cluster._room._controller.pid)
    addresses = {link.laddr.ip for link in controller.net_connections("tcp4")}

    (connection,) = [child for child in controller.parent().children() if child != controller]
    connection.kill()

    until(lambda: cluster.problem, 60)
    until(lambda: [job["state"] for job in jobs.jobs().values()] == ["CANCELLED"], 60)
    assert addresses == {"127.0.0.1"}
    assert cluster.problem.startswith("the process that watches the Slurm jobs ended: ")


def test_a_login_node_that_cannot_be_reached_is_named(batch, start, ssh):
    batch()

    with pytest.raises(
        ClusterError, match=r"cannot submit Slurm jobs on login02: ssh: Could not resolve hostn"
    ):
        start(1, host="login02", command=ssh)


@pytest.mark.nightly  # several jobs have to start, one after the other
def test_a_job_without_time_for_another_item_makes_room_for_a_new_one(batch, start):
    jobs = batch()
    with nbpar.Pool(cluster=start(1, time=6)) as pool:
        results = pool.map(item_of_a_second, range(5), chunksize=1)

    assert results == list(range(5))
    assert len(jobs.jobs()) >= 2


def item_of_a_second(i):
    time.sleep(1)
    return i


def test_jobs_follow_the_work(batch, start):
    jobs = batch()
    cluster = start(1)
    cluster.adapt(0, 2, idle=0.5)
    until(lambda: not jobs.running(), 60)
    with nbpar.Pool(cluster=cluster) as pool:
        for _ in pool.imap_unordered(own_pid, itertools.count(), chunksize=1):
            if len(cluster.engines) == 2:
                break
        until(lambda: not cluster.engines and not jobs.running(), 60)

    until(lambda: all(job["state"] in ("CANCELLED", "COMPLETED") for job in jobs.jobs().values()), 60)
    assert len(jobs.jobs()) == 3


def test_an_idle_cluster_asks_for_no_job_until_there_is_work(batch, start):
    jobs = batch()
    cluster = start(1)
    with nbpar.Pool(cluster=cluster) as pool:
        pool.map(abs, [-1])
        jobs.end(101, "TIMEOUT")
        until(lambda: not cluster.engines, 60)
        before = sorted(jobs.jobs())

        assert pool.map(abs, [-1]) == [1]

    assert before == [101]
    assert sorted(jobs.jobs()) == [101, 102]
