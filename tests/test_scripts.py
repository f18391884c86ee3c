"""Standard error of a script whose item fails: the traceback through its own lines."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """\
import nbpar

class Model:
    def fit(self, n):
        return 1 / n

def work(n):
    return Model().fit(n)

if __name__ == "__main__":
    with nbpar.Pool(1, {options}) as pool:
        pool.map(work, [1, 0])
"""


@pytest.mark.engines
@pytest.mark.parametrize("options", ["", 'path="controller"', 'backend="threads"', 'backend="serial"'])
def test_a_scripts_error_shows_its_own_lines_and_one_frame_of_nbpar(tmp_path, options):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(options=options))

    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=100, check=False)

    frames = [line.split(", ", 1) for line in done.stderr.splitlines() if line.startswith("  File ")]
    own = [rest for file, rest in frames if file == f'  File "{script}"']
    assert own == ["line 12, in <module>", "line 8, in work", "line 5, in fit"]
    assert len(frames) == len(own) + 1
    assert "    return Model().fit(n)\n" in done.stderr
    assert "ZeroDivisionError: division by zero" in done.stderr
    assert "item 1" in done.stderr
