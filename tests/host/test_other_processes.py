"""What is known of processes of this machine: whether they have ended, when they began, their memory."""

import os
import signal
import subprocess
import sys

import psutil
import pytest

from nbpar.host import processes
from nbpar.host.memory import resident_bytes_of
from nbpar.host.processes import OtherProcess, began_at, birth
from nbpar.testing import until


@pytest.fixture
def child():
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.communicate()


@pytest.fixture(params=["notified", "polled", "another system"])
def way(request, monkeypatch):
    """How the end of a process is noticed."""
    if request.param != "notified":
        monkeypatch.delattr(os, "pidfd_open", raising=False)
        monkeypatch.setattr(processes, "LOOK_EVERY", 0.0)
    if request.param == "another system":
        monkeypatch.setattr(processes, "_LINUX", False)


def test_a_process_that_is_killed_has_ended_though_its_parent_has_not_asked(way, child):
    process = OtherProcess(child.pid, birth(child.pid))
    assert not process.ended

    child.send_signal(signal.SIGKILL)

    until(lambda: process.ended)
    assert birth(child.pid) == ""
    process.close()
    process.close()
    assert process.ended


def test_a_process_that_had_ended_before_has_ended(way, child):
    born = birth(child.pid)
    child.kill()
    child.wait()

    assert OtherProcess(child.pid, born).ended


def test_another_process_with_the_same_number_is_none(way, child):
    process = OtherProcess(child.pid, birth(os.getpid()) + "0")

    assert process.ended
    process.close()


def test_a_hidden_process_is_watched_as_well(child, monkeypatch):
    born = birth(child.pid)
    monkeypatch.setattr(processes.Path, "read_text", lambda _: (_ for _ in ()).throw(FileNotFoundError()))
    process = OtherProcess(child.pid, born)
    assert birth(child.pid) == processes.UNSEEN
    assert not process.ended

    child.kill()

    until(lambda: process.ended)
    process.close()


def test_processes_are_told_apart_by_when_they_began(child):
    assert birth(child.pid) == birth(child.pid) != ""
    assert birth(max(psutil.pids()) + 1_000_000) == ""


def test_the_memory_of_a_process_is_that_which_the_system_tells():
    process = psutil.Process()

    assert resident_bytes_of(process.pid) == pytest.approx(process.memory_info().rss, rel=0.2)
    assert resident_bytes_of(max(psutil.pids()) + 1_000_000) is None


def test_the_time_when_this_process_began_is_that_of_its_files():
    assert began_at() == pytest.approx(psutil.Process().create_time(), abs=1.0)
