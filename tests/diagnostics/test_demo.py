"""Collaboration, and end to end below: the counts, texts and exit status of `nbpar demo`.

The pool is a plain object but for the last tests.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import psutil
import pytest

import nbpar
from nbpar import __main__ as command_line
from nbpar.diagnostics import demo


class PlainPool:
    """Computes here what a pool would compute on workers, and changes what it is told to."""

    def __init__(self, change=None, interrupt=False):
        self.change = change or {}
        self.interrupt = interrupt
        self.closed = False

    def each(self, fn):
        return [fn(), fn()]

    def map(self, fn, items, **options):
        self.items = items
        if self.interrupt:
            raise KeyboardInterrupt
        return [self.change.get(i, fn(item)) for i, item in enumerate(items)]

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.closed = True


@pytest.fixture
def pool(monkeypatch):
    pool = PlainPool()
    monkeypatch.setattr("nbpar.pool.pool.Pool", lambda workers, **options: pool)
    return pool


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        (b"", (2, 0, 0)),
        (b"def f(a): return a and 1 if a else 2\n", (17, 1, 2)),
        (b"# coding: latin-1\nx = '\xe4'\n", (8, 0, 0)),
    ],
    ids=["empty", "function", "latin-1"],
)
def test_tokens_functions_and_branches_are_counted(tmp_path, text, counts):
    (tmp_path / "sample.py").write_bytes(text)

    assert demo.count(str(tmp_path / "sample.py")) == counts


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"# coding: klingon\n", "SyntaxError: "),
        (b"x = '\xff'\n", "SyntaxError: "),
        (b"(", "TokenError: "),
        (b"  x\n y\n", "IndentationError: "),
        (None, "FileNotFoundError: "),
    ],
    ids=["unknown coding", "not utf-8", "open bracket", "indent", "no file"],
)
def test_a_broken_file_is_an_answer_not_an_error(tmp_path, text, reason):
    path = tmp_path / "sample.py"
    if text is not None:
        path.write_bytes(text)

    assert demo.count(str(path)).startswith(reason)


def test_a_limit_takes_files_from_all_over_the_library(pool):
    demo.main(["--limit", "3"])

    letters = [Path(path).relative_to(sysconfig.get_path("stdlib")).parts[0] for path in pool.items]
    assert len(set(letters)) == 3
    assert not any("-packages" in path for path in pool.items)


def test_the_demo_compares_both_ways(pool, capsys):
    status = demo.main(["--limit", "4", "--backend", "threads"])

    said = capsys.readouterr()
    assert status == 0
    assert "4 files of the standard library" in said.out
    assert "2 threads" in said.out
    assert "both gave the same results" in said.out
    assert "plain loop: 100%" in said.err
    assert pool.closed


def test_different_results_are_a_failure(pool, capsys):
    pool.change = {1: "SyntaxError: changed on the way"}

    assert demo.main(["--limit", "2"]) == 1
    assert "the results differ" in capsys.readouterr().err


def test_an_interrupt_closes_the_pool_and_says_so(pool, capsys):
    pool.interrupt = True

    assert demo.main(["--limit", "1"]) == 130
    assert pool.closed
    assert "interrupted" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--workers", "--limit"])
def test_counts_must_be_positive(option, capsys):
    with pytest.raises(SystemExit, match="2"):
        demo.main([option, "0"])

    assert f"argument {option}: must be at least 1, was 0" in capsys.readouterr().err


def test_the_command_line_passes_options_on(pool):
    assert command_line.main(["demo", "--limit", "1"]) == 0


@pytest.mark.parametrize(
    ("arguments", "status"), [([], 2), (["nonsense"], 2), (["--help"], 0), (["--version"], 0)]
)
def test_the_command_line_explains_itself(arguments, status, capsys):
    with pytest.raises(SystemExit) as ended:
        command_line.main(arguments)

    said = capsys.readouterr()
    assert status == ended.value.code
    assert nbpar.__version__ in said.out or "COMMAND" in said.out + said.err


def command(*arguments):
    return [sys.executable, "-m", "nbpar", "demo", "--workers", "2", *arguments]


@pytest.mark.parametrize("backend", ["serial", "threads", pytest.param("engines", marks=pytest.mark.engines)])
def test_the_demo_runs_on_every_backend(backend):
    done = subprocess.run(
        command("--limit", "12", "--backend", backend),
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr
    assert "12 files of the standard library" in done.stdout
    assert "both gave the same results in the same order" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.engines
@pytest.mark.skipif(os.name != "posix", reason="sends a signal to a process group")
def test_an_interrupt_while_engines_start_leaves_nothing_behind(tmp_path):
    with subprocess.Popen(
        command("--limit", "60"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"NBPAR_TEST_MARK": str(tmp_path)},
    ) as program:
        seen = ""
        while "plain loop: 100%" not in seen:
            seen += program.stderr.read(1)
            assert program.poll() is None
        os.killpg(program.pid, signal.SIGINT)
        rest = program.stderr.read()

    assert program.returncode == 130
    assert "interrupted; the workers are stopped" in rest
    assert "Traceback" not in rest
    assert psutil.wait_procs(marked(str(tmp_path)), timeout=5)[1] == []


def marked(mark):
    """Find the processes that have the mark in their environment, whatever their current parent."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("NBPAR_TEST_MARK") == mark:
                found.append(process)
    return found
