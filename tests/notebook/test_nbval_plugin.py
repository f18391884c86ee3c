"""The parts of outputs that nbval is told to ignore."""

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from nbpar.testing import nbval_plugin
from nbpar.views.summary import TIMES

ROOT = Path(__file__).parents[2]


def test_times_of_a_run_are_left_out_of_what_nbval_compares():
    collector = type("IPyNbFile", (), {"__module__": "nbval.plugin"})()
    collector.sanitize_patterns = {}

    nbval_plugin.pytest_collectstart(collector)

    assert any(TIMES in pattern for pattern in collector.sanitize_patterns)


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("f: stopped: 24 of 1,000 done", "f: stopped: 3 of 1,000 done", True),
        ("stopped: 24 items</div>", "stopped: 1 item</div>", True),
        ("stopped: 24 items</div>", "stopped: 20 items</div>", True),
        ("f: 24 of 25 done", "f: 23 of 25 done", False),
    ],
)
def test_how_far_a_run_came_that_was_ended_early_is_not_compared(one, other, alike):
    for pattern, instead in nbval_plugin.UNCOMPARED.items():
        one, other = re.sub(pattern, instead, one), re.sub(pattern, instead, other)

    assert (one == other) is alike


def test_other_collectors_of_pytest_are_left_alone():
    collector = SimpleNamespace(sanitize_patterns={})

    nbval_plugin.pytest_collectstart(collector)

    assert collector.sanitize_patterns == {}


def test_pytest_loads_it_by_itself():
    told = (ROOT / "pyproject.toml").read_text("utf-8")

    assert (
        '[project.entry-points.pytest11]\n"nbpar.testing.nbval_plugin" = "nbpar.testing.nbval_plugin"\n'
        in told
    )


def test_pytest_may_begin_when_nbpar_has_been_imported(tmp_path):
    (tmp_path / "test_nothing.py").write_text("def test_nothing(): pass\n")
    program = (
        "import nbpar, pytest, sys; sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider', '-W', 'error']))"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, check=False, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning" not in done.stdout
