"""A notebook that a program runs has a log, and the same outputs as ever."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from test_strict_notebooks import SETUP

from nbpar.views.text import log_of_unattended

EXECUTE = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from strict import stored_notebook
stored_notebook(Path("views.ipynb"), {cells!r})
"""


@pytest.mark.parametrize(("interval", "lines"), [("0.2", True), ("60", False)])
def test_lines_about_a_long_run_are_in_the_log_and_not_in_the_notebook(tmp_path, interval, lines):
    program = EXECUTE.format(tests=str(Path(__file__).parents[1]), cells=[SETUP, "play(1.2)", "play(0)"])

    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "NBPAR_LOG_INTERVAL": interval}, cwd=tmp_path,
        check=True, capture_output=True, text=True,
    )  # fmt: skip

    logged = [line for line in done.stderr.splitlines() if line.startswith("count: ")]
    assert bool(logged) is lines
    assert not lines or (" of 12 done, " in logged[0] and " on 2 workers" in logged[-1])
    stored = nbformat.read(tmp_path / "views.ipynb", as_version=4)
    texts = [output.data.get("text/plain") for cell in stored.cells[1:] for output in cell.outputs]
    assert [text for text in texts if text] == ["count: 12 of 12 done"] * 2


@pytest.mark.parametrize(
    ("content", "logs"), [({"allow_stdin": True}, False), ({"allow_stdin": False}, True), ({}, False)]
)
def test_only_where_nobody_could_be_asked_is_there_a_log(content, logs, capfd):
    kernel = SimpleNamespace(get_parent=lambda: {"content": content})

    assert (log_of_unattended(kernel, "count") is not None) is logs


def test_without_a_descriptor_there_is_no_log(monkeypatch):
    kernel = SimpleNamespace(get_parent=lambda: {"content": {"allow_stdin": False}})
    monkeypatch.setattr(sys, "stderr", None)
    monkeypatch.setattr(sys, "__stderr__", None)

    assert log_of_unattended(kernel, "count") is None
    assert log_of_unattended(SimpleNamespace(), "count") is None
