"""Launchers that cannot start engines: the error has the process's own words, and nothing is left."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from owners import alive
from traitlets.config import Config

import nbpar
from nbpar.cluster.directory import RuntimeDirectory
from nbpar.cluster.launched import deployment
from nbpar.cluster.launched.options import words_of
from nbpar.testing import until


@pytest.fixture
def directories(monkeypatch, tmp_path):
    """The private directories of clusters; the current one is a new one."""
    made = []

    def make():
        made.append(RuntimeDirectory())
        return made[-1]

    monkeypatch.setattr(deployment, "RuntimeDirectory", make)
    monkeypatch.chdir(tmp_path)
    return made


@pytest.fixture
def command(monkeypatch, tmp_path):
    """Put a shell script on the path."""
    folder = tmp_path / "commands"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    def make(name, *lines):
        (folder / name).write_text("\n".join(["#!/bin/sh", *lines]))
        (folder / name).chmod(0o755)

    return make


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"engines": "slurrm"}, ValueError, "unknown kind of engines 'slurrm'; did you mean 'slurm'?"),
        ({"engines": "kubernetes"}, ValueError, "unknown kind of engines 'kubernetes'; there are batch, "),
        (
            {"engines": "slurm", "profil": "x"},
            TypeError,
            "unknown option 'profil' of slurm jobs; did you mean 'profile'?",
        ),
        (
            {"engines": "local", "preloads": []},
            TypeError,
            "unknown option 'preloads'; did you mean 'preload'",
        ),
        (
            {"hosts": ["gpu01"]},
            TypeError,
            'hosts= needs engines="ssh", as in `Cluster(8, engines="ssh", hosts=',
        ),
        ({"engines": "mpi", "install": True}, TypeError, 'install= needs engines="ssh", as in `Cluster(8, '),
        ({"start_timout": 3}, TypeError, "unknown option 'start_timout'; did you mean 'start_timeout'?"),
        ({"engines": "mpi", "nonsense": 1}, TypeError, "unknown option 'nonsense'; there are "),
    ],
    ids=str,
)
def test_unknown_names_are_refused_with_the_nearest_known_ones(options, error, message):
    with pytest.raises(error) as caught:
        nbpar.Cluster(2, **options)

    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    "name",
    ["Slurm", "SlurmEngineSetLauncher", "ipyparallel.cluster.launcher.SlurmEngineSetLauncher"],
)
def test_other_ways_to_name_a_launcher_are_left_to_ipyparallel(name):
    assert nbpar.Cluster(2, engines=name, profile="x").n == 2


@pytest.mark.engines
@pytest.mark.parametrize("system", ["sbatch", "qsub"])
def test_a_job_that_ipyparallel_cannot_submit_is_told_in_the_words_of_the_batch_system(
    directories, command, capfd, system
):
    command(system, "echo 'error: no partition of that name' >&2", "exit 7")
    engines = {"sbatch": "slurm", "qsub": "pbs"}[system]

    with pytest.raises(nbpar.ClusterError) as caught:
        nbpar.Cluster(2, engines=engines, config=Config()).start()

    message = str(caught.value)
    assert message.startswith(f"ipyparallel cannot start '{engines}' engines: `{system} ")
    assert message.endswith("ended with exit code 7: error: no partition of that name")
    assert directories
    assert not any(directory.path.exists() for directory in directories)
    assert [path.name for path in Path.cwd().iterdir()] == ["commands"]
    assert capfd.readouterr().err == ""


@pytest.mark.engines
def test_a_missing_command_is_a_cluster_error(directories, command, capfd, monkeypatch, tmp_path):
    command("unrelated")
    monkeypatch.setenv("PATH", str(tmp_path / "commands"))

    with pytest.raises(
        nbpar.ClusterError, match=r"cannot start 'mpi' engines: there is no command 'mpiexec' "
    ):
        nbpar.Cluster(2, engines="mpi").start()

    assert not any(directory.path.exists() for directory in directories)
    assert capfd.readouterr().err == ""


@pytest.mark.engines
def test_engines_that_end_at_once_are_not_waited_for(directories):
    config = Config()
    config.LocalEngineLauncher.engine_cmd = ["/bin/sh", "-c", "echo this engine is broken >&2; exit 3"]

    with pytest.raises(nbpar.ClusterError, match=r"processes ended(.*\n)+.*this engine is broken"):
        nbpar.Cluster(2, engines="local", config=config, start_timeout=600).start()

    assert not any(directory.path.exists() for directory in directories)


def test_words_of_a_process_that_said_nothing():
    error = subprocess.CalledProcessError(3, ["ssh", "host"])

    assert words_of(error) == "`ssh host` ended with exit code 3"


MPIEXEC = """
number=$2; shift 2
[ "$1 $2" = "--bind-to none" ] || exit 3
shift 2
for word; do shift; [ "$word" = --mpi ] || set -- "$@" "$word"; done  # engines would need mpi4py
trap 'kill $ranks; exit 1' TERM
for _ in $(seq "$number"); do "$@" & ranks="$ranks $!"; done
wait
"""

OWNER_OF_RANKS = """
import nbpar, os
cluster = nbpar.Cluster.mpi(2, arguments=["--bind-to", "none"]).start()
print(*cluster.client[:].apply_sync(os.getpid), flush=True)
input()
"""


@pytest.mark.engines
def test_the_ranks_of_an_mpi_program_end_when_their_owner_is_killed(command):
    command("mpiexec", MPIEXEC)
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER_OF_RANKS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        with owner.stdout:
            ranks = [int(pid) for pid in owner.stdout.readline().split()]
    finally:
        owner.kill()
        owner.stdin.close()
        owner.wait()

    assert len(ranks) == 2
    until(lambda: not alive(ranks), 60)
