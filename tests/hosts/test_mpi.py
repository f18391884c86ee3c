"""Engines that are the ranks of a real MPI program, on this host and on others."""

import os
import shutil
import socket
import subprocess
import sys

import pytest

import nbpar
from nbpar.testing import until

ANYWHERE = ["--allow-run-as-root", "--oversubscribe", "--bind-to", "none"]
"""Options of Open MPI on a small machine; it does not run as root otherwise."""


@pytest.fixture(scope="session", autouse=True)
def _mpi():
    lacking = [] if shutil.which("mpiexec") else ["mpiexec (Debian: apt-get install openmpi-bin)"]
    try:
        import mpi4py  # noqa: F401 (the engines need it)
    except ImportError:
        lacking.append("mpi4py")
    if lacking:
        give_up = pytest.fail if os.environ.get("CI") else pytest.skip
        give_up(f"an MPI program needs {' and '.join(lacking)}")


def rank_and_total(value):
    from mpi4py import MPI

    world = MPI.COMM_WORLD
    return world.rank, world.size, world.allreduce(value), socket.gethostname()


def shifted(value):
    """Pass a value to the next rank in a ring."""
    from mpi4py import MPI

    world = MPI.COMM_WORLD
    return world.sendrecv(value, dest=(world.rank + 1) % world.size)


def threads_and_mark(_):
    return os.environ.get("OMP_NUM_THREADS"), os.environ.get("MARK")


@pytest.fixture(scope="module")
def pool():
    """Three ranks here."""
    with nbpar.Cluster.mpi(3, arguments=ANYWHERE) as cluster, nbpar.Pool(cluster=cluster) as made:
        yield made


def test_each_rank_takes_part_in_collective_operations(pool):
    found = pool.each(rank_and_total, 2)

    assert sorted(rank for rank, *_ in found) == [0, 1, 2]
    assert {(size, total) for _, size, total, _ in found} == {(3, 6)}


def test_a_map_with_an_item_for_each_rank_may_use_them(pool):
    assert {total for _, _, total, _ in pool.map(rank_and_total, [1, 10, 100], chunksize=1)} == {111}
    assert sorted(pool.map(shifted, [1, 2, 3], chunksize=1)) == [1, 2, 3]


def test_a_plain_map_runs_on_all_ranks(pool):
    assert pool.map(abs, range(-100, 0)) == list(range(100, 0, -1))


@pytest.fixture
def start(stage):
    """Start ranks on the hosts; what they leave is a failure."""
    network = stage.address("one").rpartition(".")[0] + ".0/24"
    started, shared = [], stage.folder / "mpi"
    parameters = {
        "plm_rsh_agent": " ".join(stage.command),
        "oob_tcp_if_include": network,
        "btl_tcp_if_include": network,
    }
    arguments = [*ANYWHERE, *(word for name, value in parameters.items() for word in ("--mca", name, value))]

    def start(hosts, **options):
        made = nbpar.Cluster.mpi(hosts=hosts, arguments=arguments, run_folder=shared, **options)
        started.append(made)
        return made.start()

    start.arguments, start.shared = arguments, shared
    yield start
    for cluster in started:
        cluster.stop()
    for name in stage.names:
        until(lambda name=name: not stage.programs(name), 60)
        assert stage.left_on(name) == []
    until(lambda: not list(shared.iterdir()), 60)


def test_ranks_of_several_hosts_are_one_program(start, stage):
    cluster = start({"one": 2, "two": 1}, env={"MARK": "here"}, start_timeout=100)
    with nbpar.Pool(cluster=cluster) as pool:
        found = pool.each(rank_and_total, 1)
        surroundings = pool.each(threads_and_mark, None)
        sent = pool.map(shifted, [b"x" * 3_000_000] * 3, chunksize=1)

    assert sorted((rank, host) for rank, _, _, host in found) == [(0, "one"), (1, "one"), (2, "two")]
    assert {(size, total) for _, size, total, _ in found} == {(3, 3)}
    assert {mark for _, mark in surroundings} == {"here"}
    assert all(number for number, _ in surroundings)
    assert [len(each) for each in sent] == [3_000_000] * 3


OWNER = """
import nbpar, sys
cluster = nbpar.Cluster.mpi(hosts={hosts}, arguments={arguments}, run_folder={shared!r}, start_timeout=100)
print(len(cluster.start().engines), flush=True)
input()
"""


def test_nothing_is_left_on_the_hosts_when_the_owner_is_killed(start, stage):
    program = OWNER.format(hosts={"one": 1, "two": 1}, arguments=start.arguments, shared=str(start.shared))
    owner = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        with owner.stdout:
            assert owner.stdout.readline() == "2\n"
    finally:
        owner.kill()
        owner.stdin.close()
        owner.wait()


def test_hosts_that_make_no_sense_are_refused():
    for hosts in ({}, [], {"one": 0}, ["one:x"], ["one", "one"], 3, {"": 1}):
        with pytest.raises(nbpar.ClusterError, match="hosts must be names with their numbers of ranks"):
            nbpar.Cluster.mpi(hosts=hosts)
