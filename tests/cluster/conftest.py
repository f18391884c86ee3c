"""Fixtures for clusters: real ones, and programs that own one and are then killed or disturbed."""

import os

import psutil
import pytest
from owners import Owner, alive, family

from nbpar.cluster.cluster import Cluster
from nbpar.testing import until


@pytest.fixture
def cluster():
    """A running cluster with two engines, for one test."""
    with Cluster(2) as made:
        yield made


@pytest.fixture(scope="module")
def shared():
    """A running cluster with two engines, for the tests of a module that leave it as it is."""
    with Cluster(2) as made:
        yield made


@pytest.fixture(autouse=True)
def nothing_left():
    """No test leaves a process behind."""
    before = set(family(os.getpid()))
    yield
    left = [pid for pid in family(os.getpid()) if pid not in before and _is_ours(pid)]
    assert not alive(left), [psutil.Process(pid).cmdline() for pid in alive(left)]


def _is_ours(pid):
    try:
        return any("nbpar.cluster" in part for part in psutil.Process(pid).cmdline())
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def own():
    """Start programs that own a cluster."""
    owners = []

    def start(*arguments, **options):
        owners.append(Owner(*arguments, **options))
        return owners[-1]

    yield start
    for owner in owners:
        owner.close()
        until(owner.nothing_left)
