"""A notebook that starts its engines on other hosts by `%nbpar start --ssh`."""

import os
import subprocess
import sys

CELLS = """
import nbpar
%load_ext nbpar
print(get_ipython().run_line_magic("nbpar", "start 1 --ssh one --ssh two:2"))
import socket
body = "import time; time.sleep(0.05); socket.gethostname()"
get_ipython().run_cell_magic("parallel_map", "--chunk 1 n in range(30) -> hosts", body)
print("ran on", sorted(set(hosts)))
before = nbpar.map(lambda _: __import__("os").getpid(), range(30), workers=3)
print(get_ipython().run_line_magic("nbpar", "restart"))
after = nbpar.map(lambda _: __import__("os").getpid(), range(30), workers=3)
print("fresh", not set(before) & set(after))
import beside_cells
get_ipython().run_cell_magic("parallel_map", "--chunk 1 n in range(6) -> told", "beside_cells.told(n)")
print("told", told)
get_ipython().run_line_magic("load_ext", "autoreload")
get_ipython().run_line_magic("autoreload", "2")
with open(beside_cells.__file__, "w") as file:
    file.write("def told(n):\\n    return n, 'edited'\\n")
get_ipython().run_cell("pass")  # %autoreload acts before a cell
get_ipython().run_cell_magic("parallel_map", "--chunk 1 n in range(2) -> told", "beside_cells.told(n)")
print("then told", told)
get_ipython().run_line_magic("nbpar", "stop")
"""


def test_cells_run_on_other_hosts_and_take_modules_along(stage, tmp_path):
    folder = stage.folder / "bin"
    folder.mkdir()
    client = folder / "ssh"
    client.write_text(f'#!/bin/sh\nPATH={os.environ["PATH"]} exec ssh -F {stage.config} "$@"\n')
    client.chmod(0o755)
    (tmp_path / "beside_cells.py").write_text("def told(n):\n    return n\n")  # hosts have no such folder
    script = tmp_path / "cells.ipy"
    script.write_text(CELLS)

    done = subprocess.run(
        [sys.executable, "-m", "IPython", "--no-banner", str(script)],
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "PATH": f"{folder}:{os.environ['PATH']}",
            "IPYTHONDIR": str(stage.folder / "ipython"),
        },
        cwd=tmp_path,
        timeout=100,
        check=False,
    )

    assert done.stdout.count("3 workers on one, two") == 2, done.stdout + done.stderr
    assert "fresh True" in done.stdout
    assert "connected anew" not in done.stdout
    assert "ran on ['one', 'two']" in done.stdout
    assert "told [0, 1, 2, 3, 4, 5]" in done.stdout, done.stdout + done.stderr
    assert "then told [(0, 'edited'), (1, 'edited')]" in done.stdout, done.stdout + done.stderr
