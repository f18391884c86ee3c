"""The card's own tests, run by Node."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def test_the_card_s_own_tests_pass():
    if shutil.which("node") is None and "CI" not in os.environ:
        pytest.skip("node is not installed")
    tests = sorted(str(path) for path in (HERE / "js").glob("*.test.mjs"))

    command = ["node", "--test", "--test-reporter=tap", *tests]
    run = subprocess.run(command, check=False, capture_output=True, text=True)

    assert run.returncode == 0, run.stdout
    assert "\n# fail 0\n" in run.stdout
