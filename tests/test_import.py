"""`import nbpar` is quick because everything else is loaded at its first use."""

from __future__ import annotations

import json
import subprocess
import sys

import nbpar

HEAVY = ("ipyparallel", "IPython", "ipywidgets", "anywidget", "zmq", "cloudpickle", "numpy", "tqdm", "psutil")


def modules_after(statement: str) -> set[str]:
    program = f"import json, sys\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    return set(json.loads(done.stdout))


def test_import_loads_nothing_heavy():
    loaded = modules_after("import nbpar; nbpar.__version__; dir(nbpar)")

    assert not loaded & set(HEAVY)


def test_a_pool_of_threads_loads_nothing_that_it_can_do_without():
    loaded = modules_after(
        "import nbpar\nwith nbpar.Pool(1, backend='threads', progress='none') as p: p.map(abs, [1])"
    )

    assert not loaded & {"ipyparallel", "IPython", "ipywidgets", "anywidget", "asyncio", "sqlite3", "zmq"}
    assert not loaded & {"nbpar.cluster.remote.hosts", "nbpar.cluster.batch.jobs", "nbpar.views.card"}


def test_a_worker_loads_little_before_its_first_item():
    loaded = modules_after("import nbpar.worker.engine")

    assert not loaded & {"asyncio", "importlib.metadata", "IPython", "ipyparallel", "psutil", "zmq"}


def test_every_public_name_resolves():
    names = [name for name in dir(nbpar) if not name.startswith("_")]

    for name in names:
        getattr(nbpar, name)

    assert {"Pool", "map", "imap", "submit", "each", "last_run", "Cluster", "Failure"} <= set(names)


def test_a_name_that_does_not_exist_is_an_ordinary_attribute_error():
    assert not hasattr(nbpar, "no_such_name")
