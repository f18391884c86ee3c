"""A marimo notebook, run by marimo itself: a bar during a map, and a summary line that remains."""

import re
import subprocess
import sys

NOTEBOOK = """
import marimo

app = marimo.App()


@app.cell
def _():
    import time
    import nbpar
    from marimo._plugins.stateless.status import _progress

    bars = []
    update = _progress.ProgressBar.update

    def noted(self, increment=1, **more):
        bars.append(increment)
        return update(self, increment, **more)

    _progress.ProgressBar.update = noted
    pool = nbpar.Pool(2, backend="threads")
    return bars, pool, time


@app.cell
def _(bars, pool, time):
    naps = pool.map(time.sleep, [0.1] * 20)
    print("counted", sum(bars), "in", len(bars) > 2)
    len(naps)
    return


@app.cell
def _(pool):
    pool.map(abs, [-1])
    return


if __name__ == "__main__":
    app.run()
"""


def executed(folder, *command):
    (folder / "naps.py").write_text(NOTEBOOK)
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=100)


def test_a_map_in_a_notebook_has_a_bar_and_leaves_a_line(tmp_path):
    export = ["export", "html", "naps.py", "-o", "naps.html", "--no-include-code"]

    done = executed(tmp_path, sys.executable, "-m", "marimo", *export)

    lines = [line for line in (done.stdout + done.stderr).splitlines() if "done" in line or "counted" in line]
    assert re.fullmatch(r"sleep: 20 of 20 done, 1\.\d s on 2 workers", lines[0])
    assert re.fullmatch(r"counted \d+ in True", lines[1])
    assert re.fullmatch(r"abs: 1 of 1 done, .* on \d workers?", lines[2])


def test_the_same_file_as_a_script_says_so_on_standard_error(tmp_path):
    done = executed(tmp_path, sys.executable, "naps.py")

    assert re.fullmatch(r"sleep: 20 of 20 done, 1\.\d s on 2 workers\n", done.stderr)
