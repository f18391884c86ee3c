"""Journals of processes that are killed, or that use the same journal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import nbpar
from nbpar.testing import until

PROGRAM = Path(__file__).with_name("program.py")
ITEMS = 12


@pytest.fixture
def programs(tmp_path: Path, notes) -> Iterator[list[subprocess.Popen[str]]]:
    """The programs that were started; none survives the test."""
    started: list[subprocess.Popen[str]] = []
    yield started
    (tmp_path / "open").touch()
    for program in started:
        program.kill()
        program.communicate()


@pytest.fixture
def start(tmp_path: Path, programs):
    """Start the program on a backend."""

    def start(backend: str, items: int = ITEMS, how: str = "map") -> subprocess.Popen[str]:
        programs.append(subprocess.Popen(
            [sys.executable, str(PROGRAM), str(tmp_path), backend, str(items), how],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        ))  # fmt: skip
        return programs[-1]

    return start


def items_kept() -> int:
    return sum(info.items for info in nbpar.journals())


@pytest.mark.parametrize("how", ["map", "pipeline"])
def test_what_was_done_survives_kill_9(kind, start, tmp_path, notes, how):
    program = start(kind, how=how)
    before_the_gate = 9 if kind == "serial" else ITEMS - 1
    until(lambda: items_kept() == before_the_gate, 60.0, "nothing was kept")
    os.kill(program.pid, signal.SIGKILL)
    program.communicate()
    (tmp_path / "open").touch()

    out, err = start(kind, how=how).communicate(timeout=60)

    assert out.split() == ["True", str(before_the_gate)], err
    assert {item: count for item, count in notes.counts.items() if count > 1} == {"9": 2}


def test_two_processes_may_use_one_journal_at_once(start, tmp_path, notes):
    both = [start("threads", 200), start("threads", 200)]
    until(lambda: notes.counts["9"] == 2, 60.0, "they did not run at the same time")
    (tmp_path / "open").touch()

    ends = [program.communicate(timeout=60) for program in both]
    after, err = start("threads", 200).communicate(timeout=60)

    assert all(out.startswith("True") for out, _ in ends), ends
    assert after.split() == ["True", "200"], err
