"""Two other hosts for all tests of this folder, and clusters on them that end after each test."""

import os
import sys
import tempfile
from pathlib import Path

import pytest
from slurm_stage import SlurmStage, slurm_missing
from stage import Stage, programs_missing, rights_missing

import nbpar
from nbpar.testing import until


def pytest_collection_modifyitems(items):
    """Mark the tests: they start engines."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("engines")


@pytest.fixture(scope="session")
def stage():
    """Two hosts."""
    if lacking := programs_missing() or rights_missing():
        give_up = pytest.fail if os.environ.get("CI") else pytest.skip
        give_up(f"other hosts are made of namespaces, which needs {lacking}")
    with tempfile.TemporaryDirectory(prefix="nbpar-stage-") as folder, Stage(Path(folder), 2) as hosts:
        yield hosts


@pytest.fixture(scope="session")
def slurm():
    """A Slurm whose nodes are this machine."""
    if lacking := slurm_missing():
        give_up = pytest.fail if os.environ.get("CI") else pytest.skip
        give_up(f"a Slurm on this machine needs {lacking}")
    with tempfile.TemporaryDirectory(prefix="nbpar-slurm-") as folder, SlurmStage(Path(folder)) as made:
        yield made


@pytest.fixture
def ssh(stage):
    """Start a cluster as `Cluster.ssh` does; what it leaves on hosts, or here, is a failure."""
    started = []

    def start(hosts, *arguments, **options):
        made = nbpar.Cluster.ssh(
            hosts, *arguments, **{"command": stage.command, "start_timeout": 100, **options}
        )
        started.append(made)
        return made.start()

    yield start
    for cluster in started:
        cluster.stop()
    for name in stage.names:
        until(lambda name=name: not stage.programs(name), 30)
        assert stage.left_on(name) == []
    assert not stage.clients


@pytest.fixture(scope="session")
def without_nbpar(stage):
    """A Python on the hosts that has what engines need, but not nbpar."""
    packages = next(entry for entry in sys.path if entry.endswith("site-packages"))
    wrapper = stage.folder / "python-without-nbpar"
    python = f"{sys.base_prefix}/bin/python{sys.version_info[0]}"
    wrapper.write_text(f'#!/bin/sh\nPYTHONPATH={packages} exec {python} "$@"\n')  # skips its .pth files
    wrapper.chmod(0o755)
    return str(wrapper)
