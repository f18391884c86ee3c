"""What nbpar does without the parts of Linux that Windows and macOS lack."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

pytestmark = [pytest.mark.engines, pytest.mark.skipif("sys.platform != 'linux'")]

PROGRAM = """
import signal
import nbpar
from nbpar.cluster.fork_server.server import can_fork
from nbpar.wire.shared_memory import CAN_LODGE

if __name__ == "__main__":
    print(can_fork(), CAN_LODGE, hasattr(signal, "setitimer"))
    with nbpar.Pool(1, progress="none") as pool:
        print(pool.map(abs, [-1, 2]))
    print(nbpar.map(abs, [-3], backend="threads"))
"""


@pytest.mark.parametrize(("system", "forks"), [("windows", False), ("macos", True)])
def test_maps_run_without_what_a_system_lacks(tmp_path, system, forks):
    (tmp_path / "program.py").write_text(PROGRAM)
    with tempfile.TemporaryDirectory() as own:  # others would take its folders, without locks, for abandoned
        environment = {
            **os.environ, "NBPAR_LACKS": system, "PYTHONPATH": str(Path(__file__).parent / "lacking"),
            "TMPDIR": own,
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "program.py"], cwd=tmp_path, env=environment, text=True, capture_output=True,
            check=False, timeout=100,
        )  # fmt: skip

    assert done.stdout.splitlines() == [f"{forks} False True", "[1, 2]", "[3]"], done.stderr
