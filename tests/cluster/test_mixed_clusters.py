"""Engines that have not what this process has: some cannot be used, and say why; others get its folders."""

from __future__ import annotations

import importlib
import logging
import sys

import pytest

import nbpar
from nbpar.cluster.cluster import Cluster
from nbpar.errors import NoWorkersError
from nbpar.notebook.commands import status
from nbpar.testing import until

pytestmark = pytest.mark.engines

BEFORE = f"3.{sys.version_info[1] - 1}"
OTHER_PYTHON = f"import sys; sys.version_info = (3, {sys.version_info[1] - 1}, 0)"
WITHOUT_NBPAR_AND_CLOUDPICKLE = (
    "import sys\n"
    "for name in [name for name in sys.modules if name.startswith(('nbpar', 'cloudpickle'))]:\n"
    "    del sys.modules[name]\n"
    "sys.modules['cloudpickle'] = None"
)
PROBLEMS = {
    OTHER_PYTHON: f"the engine runs Python {BEFORE} and the client Python ",
    WITHOUT_NBPAR_AND_CLOUDPICKLE: "cloudpickle",
}


@pytest.fixture
def client():
    with Cluster(3, heal=False) as cluster:
        yield cluster.client


@pytest.mark.parametrize(("harm", "reason"), PROBLEMS.items(), ids=["another Python", "without cloudpickle"])
def test_the_others_work_and_the_reason_is_told_once(client, caplog, harm, reason):
    client[1:].execute(harm, block=True)

    with caplog.at_level(logging.WARNING, "nbpar"), nbpar.Pool(cluster=client) as pool:
        assert pool.map(abs, range(-50, 0)) == list(range(50, 0, -1))
        until(lambda: sum("problem" in worker for worker in pool.workers) == 2)
        workers = pool.workers
        shown = repr(status([pool]))

    assert [reason in worker.get("problem", "") for worker in workers] == [False, True, True]
    told = [record.getMessage() for record in caplog.records if "is left out" in record.getMessage()]
    assert len(told) == 1
    assert reason in told[0]
    assert "left out: " in shown


def test_none_that_can_be_used_is_an_error_with_the_reason(client):
    client[:].execute(OTHER_PYTHON, block=True)

    with nbpar.Pool(cluster=client) as pool, pytest.raises(NoWorkersError, match=f"runs Python {BEFORE} and"):
        pool.map(abs, [-1])


def test_engines_of_ipyparallels_launcher_find_the_modules_that_this_process_finds(tmp_path, monkeypatch):
    (tmp_path / "beside_the_notebook.py").write_text("def double(n):\n    return 2 * n\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    module = importlib.import_module("beside_the_notebook")

    try:
        with Cluster(1, engines="local") as cluster, nbpar.Pool(cluster=cluster) as pool:
            assert pool.map(module.double, range(3)) == [0, 2, 4]
    finally:
        del sys.modules["beside_the_notebook"]
