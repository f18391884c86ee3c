"""`%nbpar use` and `--pool`, with pools of threads in the place of the default pools."""

from __future__ import annotations

import pytest

import nbpar
from nbpar.notebook.completion import proposals
from nbpar.notebook.extension import install
from nbpar.pool import defaults


@pytest.fixture(scope="module")
def pool():
    with nbpar.Pool(2, backend="threads", progress="none") as pool:
        yield pool


@pytest.fixture
def notebook(shell, pool):
    """The shell, with the real default pools, and two variables."""
    defaults.close_default_pools()
    install(shell, defaults)
    shell.user_ns.update(mine=pool, number=3)
    yield shell
    defaults.close_default_pools()


WHERE = "import threading\nthreading.current_thread().name"


def test_a_cell_runs_on_the_pool_of_a_variable(notebook, run):
    run(f"%%parallel_map --pool mine n in range(4) -> names\n{WHERE}")

    assert set(notebook.user_ns["names"]) <= {"nbpar thread 0", "nbpar thread 1"}
    assert defaults.default_pools() == []


def test_a_channel_leads_to_the_pool_of_a_variable(notebook, run):
    run("%%channel --pool mine there\nimport threading\nchannel.send(threading.current_thread().name)")

    assert notebook.user_ns["there"].receive(timeout=10) == "nbpar thread 0"


def test_cells_and_channels_run_on_what_is_used(notebook, run, pool):
    shown = run("%nbpar use mine")
    run(f"%%parallel_map n in range(4) -> names\n{WHERE}")
    run("%%channel there\nchannel.send(1)")

    assert repr(shown).startswith("calls run on <nbpar.Pool: 2 on threads>: 2 workers on ")
    assert "`%nbpar use None` brings them back to this machine\nworker" in repr(shown)
    assert set(notebook.user_ns["names"]) <= {"nbpar thread 0", "nbpar thread 1"}
    assert notebook.user_ns["there"].receive(timeout=10) == 1
    assert repr(run("%nbpar")).startswith("calls run on <nbpar.Pool: 2 on threads>")
    assert defaults.default_pools() == []


def test_without_a_name_it_says_what_is_used(notebook, run):
    assert repr(run("%nbpar use")) == "calls run on the workers of this machine"

    run("%nbpar use mine")
    assert "calls run on <nbpar.Pool" in repr(run("%nbpar use"))

    assert repr(run("%nbpar use None")) == "calls run on the workers of this machine"
    assert defaults.used_place() is None


def test_stop_ends_the_use_and_not_the_pool(notebook, run, pool):
    run("%nbpar use mine")

    shown = repr(run("%nbpar stop"))

    assert defaults.used_place() is None
    assert not pool.closed
    assert shown == (
        "no longer used: <nbpar.Pool: 2 on threads>, which stays open; "
        "calls run on the workers of this machine, started by the first"
    )
    assert repr(run("%nbpar stop")).startswith("no workers are running")


def test_a_pool_that_is_resized_while_it_is_used_is_told_as_it_is(notebook, run):
    with nbpar.Pool(1, backend="threads", progress="none") as pool:
        notebook.user_ns["small"] = pool
        run("%nbpar use small")

        run("%nbpar resize 3")

        assert repr(run("%nbpar")).startswith("calls run on <nbpar.Pool: 3 on threads>: 3 workers on ")
        assert repr(nbpar.use(nbpar.use(pool))) == "<nbpar.use: <nbpar.Pool: 3 on threads>>"


def test_a_body_that_assigns_a_global_is_allowed_where_the_pool_shares_it(notebook, run):
    run("%nbpar use mine")
    run("total = 0")

    run("%%parallel_map n in range(3)\nglobal total\ntotal = 5")

    assert notebook.user_ns["total"] == 5


def test_a_pool_that_was_closed_meanwhile_is_named(notebook, run):
    notebook.user_ns["gone"] = gone = nbpar.Pool(1, backend="threads")
    run("%nbpar use gone")
    gone.close()

    shown = repr(run("%nbpar"))

    assert "calls should run on <nbpar.Pool: 1 on threads (closed)>, but: the pool is closed" in shown
    assert "`%nbpar use None` brings them back" in shown


MISTAKES = {
    "%%parallel_map --pool nothing n in [1]": "no variable `nothing`; the pools of this notebook are: mine",
    "%%parallel_map --pool number n in [1]": "`number` must be an nbpar.Pool, was int",
    "%%parallel_map --pool cluster n in [1]": "make a pool of it, `pool = nbpar.Pool(cluster=cluster)`, or",
    "%%parallel_map --pool mine --backend serial n in [1]": "which is on threads: leave one out",
    "%%channel --pool nothing there": "there is no variable `nothing`",
    "%nbpar use nbpar.Pool(2)": "was the expression `nbpar.Pool(2)`; write `place = nbpar.Pool(2)`",
    "%nbpar use mine.pools[0]": "takes a name, was the expression `mine.pools[0]`",
    "%nbpar use no-such.pool": "there is no IPython profile 'no-such.pool'",
    "%nbpar use ssh://": "'ssh://' names no host",
    "%nbpar use number": "number: place must be an nbpar.Pool, an nbpar.Cluster, ",
}


@pytest.mark.parametrize(("line", "message"), MISTAKES.items())
def test_what_cannot_be_used_is_told_in_one_line(notebook, fail, line, message):
    notebook.user_ns["cluster"] = nbpar.Cluster(1)  # it does not run

    error, shown = fail(line if line.startswith("%nbpar") else f"{line}\n1")

    assert message in str(error)
    assert shown.startswith("UsageError: ") or isinstance(error, nbpar.ClusterError)


def test_start_is_for_this_machine(notebook, run, fail):
    run("%nbpar use mine")

    error, _ = fail("%nbpar start 2")

    assert "but calls run on <nbpar.Pool: 2 on threads>; `%nbpar use None` brings them back" in str(error)


def test_a_name_in_quotes_is_no_variable(notebook, fail, monkeypatch, tmp_path):
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))

    error, _ = fail("%nbpar use 'mine'")

    assert "there is no IPython profile 'mine'" in str(error)


def test_names_are_completed(pool, monkeypatch, tmp_path):
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    security = tmp_path / "profile_big" / "security"
    security.mkdir(parents=True)
    (security / "ipcontroller-client.json").touch()
    (tmp_path / "profile_idle" / "security").mkdir(parents=True)
    names = {"mine": pool, "cluster": nbpar.Cluster(1), "number": 3, "_mine": pool}

    assert proposals("%nbpar use ", "", ["use"], names) == ["mine", "cluster", "big", "None"]
    assert proposals("%nbpar use b", "b", ["use"], names) == ["big"]
    assert proposals("%nbpar us", "us", ["use"], names) == ["use"]
    assert proposals("%nbpar use big ", "", ["use"], names) is None
    assert proposals("%%parallel_map --pool ", "", ["use"], names) == ["mine"]
    assert proposals("%%parallel_map --pool=m", "m", ["use"], names) == ["mine"]
