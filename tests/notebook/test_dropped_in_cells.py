"""A cell that makes workers may be run again and again."""

import gc
import warnings

import psutil
import pytest

from nbpar.testing import until

pytestmark = [pytest.mark.engines, pytest.mark.timeout(300)]

LIMIT = 90.0

CELLS = {
    "a pool": "pool = nbpar.Pool(1, progress='none')\nvalues = pool.map(abs, [-1])",
    "a pool that is not used": "pool = nbpar.Pool(1)",
    "a run": "run = nbpar.Pool(1, progress='none').map_async(abs, [-1])\nrun.get()",
    "an executor": "executor = nbpar.Pool(1).executor()\nexecutor.submit(abs, -1).result()",
    "a queue": "results = nbpar.Pool(1).queue(abs)\nresults.put(-1)\nresults.get()",
    "gateways": "gateways = nbpar.Pool(1).gateways\ngateways[0].remote_exec('pass').wait_closed()",
    "a group": "group = nbpar.Group(1)\ngroup.remote_exec('pass').wait_closed()",
    "a cluster": "cluster = nbpar.Cluster(1).start()",
    "a cluster and a pool": (
        "cluster = nbpar.Cluster(1)\npool = nbpar.Pool(cluster=cluster, progress='none')\npool.map(abs, [-1])"
    ),
    "a pipeline": (
        "pipeline = nbpar.Pipeline([nbpar.Stage(abs, workers=os.cpu_count() + 1)])\n"
        "pipeline.map([-1], progress='none')"
    ),
    "a group of execnet's names": "import nbpar.compat.execnet as execnet\ngroup = execnet.Group(['popen'])",
}

BY_DAY = {"a pool", "a run", "a queue", "gateways", "a cluster and a pool"}
"""Cells that stand for the others, which are run at night."""


@pytest.mark.parametrize(
    "cell",
    [
        pytest.param(cell, id=name, marks=() if name in BY_DAY else pytest.mark.nightly)
        for name, cell in CELLS.items()
    ],
)
def test_a_cell_that_is_run_again_and_again_leaves_one_set_of_engines(shell, cell):
    clusters_before = clusters()
    shell.run_cell("import os, nbpar").raise_error()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # as everywhere outside of tests
        for _ in range(3):
            shell.run_cell(cell).raise_error()
        shell.run_cell(
            "nbpar.map(abs, [-1], backend='serial', progress='none')"
        ).raise_error()  # the last run
        until(lambda: len(clusters() - clusters_before) <= 1, LIMIT)  # none if what is held needs none
        shell.reset(new_session=False)

        until(lambda: clusters() <= clusters_before, LIMIT)


def clusters():
    """The processes from which controllers and engines are forked."""
    gc.collect()
    return {it.pid for it in psutil.Process().children()}
