"""Pids are valid only on their machine and in their namespace."""

import os
import platform
import subprocess
import sys

import pytest

from nbpar.host import machine as module
from nbpar.host.machine import is_here, machine, this_process

TELL = [sys.executable, "-c", "from nbpar.host.machine import machine; print(machine())"]


def test_processes_of_one_machine_agree():
    other = subprocess.run(TELL, capture_output=True, text=True, check=True).stdout.strip()

    assert len(machine()) == 16
    assert other == machine()
    assert is_here(this_process())


def test_an_equal_host_name_proves_nothing():
    assert not is_here({"host": platform.node(), "pid": os.getpid(), "machine": "0123456789abcdef"})
    assert not is_here({"host": platform.node(), "pid": os.getpid()})


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has pid namespaces")
def test_a_container_with_processes_of_its_own_is_another_machine():
    there = ["unshare", "-p", "-f", "--mount-proc", *TELL]
    apart = subprocess.run(there, capture_output=True, text=True, check=False)
    if apart.returncode and "unshare" in apart.stderr:
        pytest.skip(f"namespaces need rights: {apart.stderr}")

    assert len(apart.stdout.strip()) == 16
    assert apart.stdout.strip() != machine()


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="they have other proofs")
def test_a_system_that_does_not_tell_is_no_machine_of_ours(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "_BOOT_ID", tmp_path / "missing")
    unknown = machine.__wrapped__()
    monkeypatch.setattr(module, "machine", lambda: unknown)

    assert not is_here({"host": platform.node(), "machine": unknown})
