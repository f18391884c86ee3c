"""The pool of a script has workers without a controller, which behave like engines."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import psutil
import pytest

import nbpar
from nbpar.pool import placement
from nbpar.testing import until

pytestmark = pytest.mark.engines


@pytest.fixture(scope="module")
def pool():
    with nbpar.Pool(2, progress="none") as pool:
        yield pool.wait()


def cluster_of(pool):
    return pool._place._cluster


def test_a_script_waits_for_no_import_of_ipyparallel():
    program = """
import json, sys
import nbpar
def loaded(_):
    return sorted(__import__("sys").modules)
with nbpar.Pool(1, progress="none") as pool:
    there = pool.map(loaded, [0])
    print(json.dumps([sorted(sys.modules), *there]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    here, there = map(set, json.loads(done.stdout))

    heavy = {"asyncio", "ipykernel", "ipyparallel", "IPython", "psutil", "tornado", "zmq"}
    assert not here & {*heavy, "importlib.readers", "sqlite3"}
    assert not there & heavy


def test_only_workers_and_what_they_are_forked_from_are_started(pool):
    workers = set(pool.each(os.getpid))

    template = psutil.Process(cluster_of(pool)._room._template.pid)

    assert {child.pid for child in template.children(recursive=True)} == workers


def test_a_notebook_s_pool_has_a_controller(monkeypatch):
    monkeypatch.setattr(placement, "in_ipython", lambda: True)

    with nbpar.Pool(1, progress="none") as pool:
        [process] = pool.each(os.getpid)

        assert cluster_of(pool).client[:].apply_sync(os.getpid) == [process]


def test_a_pool_has_a_controller_where_nothing_proves_that_workers_are_on_this_host():
    program = """
import nbpar
from nbpar.host import machine
machine._proof = lambda: (_ for _ in ()).throw(OSError)
with nbpar.Pool(1, progress="none") as pool:
    print(pool.map(abs, [-1]), [facts["local"] for facts in pool.workers])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120
    )

    assert done.stdout == "[1] [False]\n", done.stderr


def test_a_client_is_refused_with_what_to_do(pool):
    pool.each(int)

    with pytest.raises(nbpar.ClusterError, match=r"it has no controller; .*cluster=nbpar.Cluster"):
        cluster_of(pool).client  # noqa: B018 (the property raises)


def test_a_worker_that_was_let_go_is_entered_again_with_its_state(pool):
    def count(_):
        sys.entered = getattr(sys, "entered", 0) + 1
        return os.getpid(), sys.entered

    before = dict(pool.each(count, 0))
    until(lambda: not pool._place.backend._engines, 60)

    assert dict(pool.each(count, 0)) == {process: number + 1 for process, number in before.items()}


def test_a_worker_without_a_loop_ignores_ctrl_c(pool):
    processes = pool.each(os.getpid)
    until(lambda: not pool._place.backend._engines, 60)

    for process in processes:
        os.kill(process, signal.SIGINT)

    assert set(pool.each(os.getpid)) == set(processes)


def test_workers_come_and_go_with_the_pool_s_size(pool):
    first = set(pool.each(os.getpid))
    pool.resize(3)
    more = set(pool.each(os.getpid))
    pool.resize(2)

    until(lambda: not any(map(psutil.pid_exists, more - first)), 60)
    assert first < more
    assert len(pool.workers) == 2
    assert set(pool.each(os.getpid)) == first


def test_a_killed_worker_is_replaced_under_a_new_number():
    with nbpar.Pool(1, progress="none") as pool:
        [victim] = pool.each(os.getpid)
        os.kill(victim, signal.SIGKILL)

        until(lambda: [facts["worker"] for facts in pool.workers] == ["engine 1"], 60)
        assert pool.each(os.getpid) != [victim]


def test_an_item_that_imports_ipython_has_a_shell_and_one_that_does_not_has_not(pool):
    def shell(_):
        before = "IPython" in sys.modules
        from IPython import get_ipython

        assert sys.modules["__main__"] is get_ipython().user_module
        result = get_ipython().run_cell("6 * 7", store_history=False).result
        return before, type(get_ipython()).__name__, result

    with nbpar.Pool(1, progress="none") as fresh:
        assert fresh.map(shell, [0]) == [(False, "ZMQInteractiveShell", 42)]


def test_displays_are_recorded_from_the_item_on_that_imports_ipython():
    def show(item):
        from IPython.display import HTML, display

        display(HTML(f"<b>{item}</b>"))

    with nbpar.Pool(1, progress="none") as fresh:
        run = fresh.map_async(show, range(2))
        run.get()

    shown = [piece.content["data"]["text/html"] for piece in run.output.pieces if piece.kind == "display"]
    assert shown == ["<b>0</b>", "<b>1</b>"]


def test_matplotlib_draws_without_a_window_as_in_engines(pool):
    def backend():
        return os.environ["MPLBACKEND"]

    expected = os.environ.get("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    assert set(pool.each(backend)) == {expected}
