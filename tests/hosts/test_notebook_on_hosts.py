"""A notebook that starts its engines on other hosts by `%nbpar start --ssh`."""

import os
import subprocess
import sys

CELLS = """
%load_ext nbpar
print(get_ipython().run_line_magic("nbpar", "start 1 --ssh one --ssh two:2"))
import socket
body = "import time; time.sleep(0.05); socket.gethostname()"
get_ipython().run_cell_magic("parallel_map", "--chunk 1 n in range(30) -> hosts", body)
print("ran on", sorted(set(hosts)))
get_ipython().run_line_magic("nbpar", "stop")
"""


def test_a_cell_runs_on_other_hosts(stage):
    folder = stage.folder / "bin"
    folder.mkdir()
    client = folder / "ssh"
    client.write_text(f'#!/bin/sh\nPATH={os.environ["PATH"]} exec ssh -F {stage.config} "$@"\n')
    client.chmod(0o755)
    script = stage.folder / "cells.ipy"
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
        timeout=100,
        check=False,
    )

    assert "3 workers on one, two" in done.stdout, done.stdout + done.stderr
    assert "ran on ['one', 'two']" in done.stdout
