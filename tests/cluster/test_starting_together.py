"""Several threads of a fresh process may start clusters at the same time."""

import subprocess
import sys

import pytest

PROGRAM = """
from concurrent.futures import ThreadPoolExecutor

import nbpar


def started(number):
    with nbpar.Cluster(1) as cluster:
        return len(cluster.engines)


with ThreadPoolExecutor(3) as threads:
    print(list(threads.map(started, range(3))))
"""


@pytest.mark.engines
def test_clusters_start_at_the_same_time():
    program = subprocess.run([sys.executable, "-c", PROGRAM], check=False, capture_output=True, text=True)

    assert program.stdout == "[1, 1, 1]\n", program.stderr
