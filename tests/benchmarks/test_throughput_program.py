"""End to end: the program runs with real workers, in sizes that measure nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

PROGRAM = Path(__file__).resolve().parents[2] / "benchmarks" / "throughput.py"


def only(*names):
    return [argument for name in names for argument in ("--only", name)]


def run(tmp_path, *arguments):
    return subprocess.run(
        [sys.executable, PROGRAM, "--workers", "2", *arguments],
        check=False,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
    )


def test_all_workloads_run_in_tiny_sizes(tmp_path):
    done = run(tmp_path, "--quick", *only("nbpar-threads", "pool", "executor"))

    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    for title in (
        "no-op, map",
        "chunks of one item",
        "1 ms",
        "10 ms",
        "submitted",
        "10 x 100 ms",
        "range(4)",
        "streams",
    ):
        assert title in done.stdout
    assert done.stdout.count("nbpar, threads  ") == 8
    assert "Promises are not judged by tiny sizes." in done.stdout


@pytest.mark.engines
def test_engines_take_part_on_both_paths(tmp_path):
    done = run(
        tmp_path, "--quick", *only("nbpar", "nbpar-controller", "noop", "single", "submit", "small", "memory")
    )

    assert done.returncode == 0, done.stderr
    assert "left out" not in done.stdout
    assert "failed" not in done.stdout


@pytest.mark.skipif(os.name != "posix", reason="sends a signal to a process group")
def test_an_interrupt_leaves_nothing_behind(tmp_path):
    arguments = ["--workers", "2", "--rounds", "1000", *only("sleep", "nbpar-threads", "pool")]
    program = subprocess.Popen(
        [sys.executable, PROGRAM, *arguments],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with program:
        while "10 ms of waiting" not in program.stderr.readline():
            assert program.poll() is None
        workers = psutil.Process(program.pid).children(recursive=True)
        os.killpg(program.pid, signal.SIGINT)
        rest = program.stderr.read()

    assert program.returncode == 130
    assert rest == "\ninterrupted; every pool and cluster is closed\n"
    assert len(workers) >= 2
    assert psutil.wait_procs(workers, timeout=5)[1] == []
