"""Idle workers of a notebook's pool import what its cells have imported."""

from __future__ import annotations

import os
import sys

import pytest

import nbpar
from nbpar.pool import ahead
from nbpar.testing import until

pytestmark = pytest.mark.engines


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package whose import leaves a file for each process, and depends on a variable."""
    site = tmp_path / "site-packages"
    site.mkdir()
    (tmp_path / "seen").mkdir()
    site.joinpath("told_ahead.py").write_text(
        "import os, pathlib\n"
        f"pathlib.Path({str(tmp_path / 'seen')!r}, str(os.getpid())).write_text(os.environ.get('TOLD', ''))\n"
    )
    monkeypatch.syspath_prepend(str(site))
    yield tmp_path / "seen"
    sys.modules.pop("told_ahead", None)


def told(folder, workers):
    """What the processes of workers have left; that of one which has not yet imported is missing."""
    return {path.read_text() if (path := folder / pid).exists() else "" for pid in workers}


def test_workers_import_after_a_cell_and_as_the_notebook_s_variables_are_then(
    shell, run, package, monkeypatch
):
    monkeypatch.setattr(ahead, "PAUSE", 0.0)
    with nbpar.Pool(2, progress="none") as pool:
        workers = {str(facts["pid"]) for facts in pool.workers}
        run("import os; os.environ['TOLD'] = 'late'; import told_ahead")

        until(lambda: told(package, workers) == {"late"}, 60)

        assert pool.map(lambda _: "told_ahead" in sys.modules, range(2)) == [True, True]
    monkeypatch.delenv("TOLD")


def test_an_import_that_fails_on_workers_is_not_mentioned(shell, run, package, monkeypatch, capsys):
    monkeypatch.setattr(ahead, "PAUSE", 0.0)
    (package.parent / "site-packages" / "told_ahead.py").write_text(
        f"import os, pathlib\npathlib.Path({str(package)!r}, str(os.getpid())).touch()\n"
        f"if os.getpid() != {os.getpid()}: raise SystemExit(3)\n"
    )
    with nbpar.Pool(1, progress="none") as pool:
        [worker] = [facts["pid"] for facts in pool.workers]
        run("import told_ahead")
        until((package / str(worker)).exists, 60)

        assert pool.map(abs, [-1]) == [1]
        assert [facts["pid"] for facts in pool.workers] == [worker]
    assert "told_ahead" not in "".join(capsys.readouterr())
