"""The card's own tests, which node runs."""

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_the_card_s_own_tests_pass():
    tests = sorted(str(path) for path in (HERE / "js").glob("*.test.mjs"))

    run = subprocess.run(["node", "--test", *tests], check=False, capture_output=True, text=True)

    assert run.returncode == 0, run.stdout
    assert "\n# fail 0\n" in run.stdout
