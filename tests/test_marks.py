"""Tests that start engines are marked, so that `make fast` can skip them; `nightly` tests run at night."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = """\
import subprocess, sys
import pytest

def start(module):
    assert subprocess.run([sys.executable, "-c", "", module]).returncode == 0

@pytest.mark.parametrize("module", ["nbpar.cluster.fork_server.process", "ipyparallel.engine"])
def test_unmarked(module):
    start(module)

@pytest.mark.engines
def test_marked():
    start("nbpar.cluster.fork_server.process")

def test_other_program():
    start("json.tool")

@pytest.mark.parametrize("backend", ["threads", "engines"])
def test_by_parameter(backend):
    pass

@pytest.mark.nightly
def test_that_takes_long():
    pass
"""
"""They start programs that do nothing, with the words by which engines are known."""


@pytest.fixture
def run(tmp_path):
    """Run the tests above with our `conftest.py`, and return each one's outcome."""
    shutil.copy(Path(__file__).with_name("conftest.py"), tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n engines\n nightly\n")
    (tmp_path / "test_some.py").write_text(TESTS)

    def run(*options):
        command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", *options]
        done = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True, timeout=100)
        return dict(re.findall(r"^test_some\.py::(\S+) (PASSED|FAILED)", done.stdout, re.MULTILINE))

    return run


def test_a_test_without_the_marker_cannot_start_engines(run):
    assert run("-m", "not engines", "-k", "marked or program") == {
        "test_unmarked[nbpar.cluster.fork_server.process]": "FAILED",
        "test_unmarked[ipyparallel.engine]": "FAILED",
        "test_other_program": "PASSED",
    }


def test_a_parameter_that_names_engines_is_as_good_as_the_marker(run):
    assert run("-m", "engines") == {"test_marked": "PASSED", "test_by_parameter[engines]": "PASSED"}


@pytest.mark.parametrize("options", [["-m", "nightly"], ["test_some.py::test_that_takes_long"]], ids=str)
def test_what_is_for_the_night_runs_when_it_is_asked_for(run, options):
    assert run(*options) == {"test_that_takes_long": "PASSED"}


def test_what_is_for_the_night_is_left_out_otherwise(run):
    assert run("-k", "long or other_program") == {"test_other_program": "PASSED"}
