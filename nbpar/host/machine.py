"""Prove that two processes share a machine and a process table, which equal host names do not.

Cloned virtual machines have one name, and a container may have its host's name with processes of
its own.  A pid, `/proc` and shared memory mean the same only where the same system was booted once
and its processes are numbered in one namespace.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_PID_NAMESPACE = Path("/proc/self/ns/pid")
_PREFETCH = r"SYSTEM\CurrentControlSet\Control\Session Manager\Memory Management\PrefetchParameters"


@cache
def machine() -> str:
    """Return what only processes of this machine, since it was booted, and of this pid namespace know.

    Equal texts prove it.  "" if this system does not tell, which equals nothing (`is_here`).
    """
    try:
        proof = _proof()
    except (OSError, ValueError, AttributeError):
        return ""
    return hashlib.sha256(proof.encode()).hexdigest()[:16]


def is_here(facts: Mapping[str, Any]) -> bool:
    """Return whether a worker's pid is one of this machine: its facts have the same `machine`."""
    return bool(machine()) and facts.get("machine") == machine()


def this_process() -> dict[str, object]:
    """Return where this process is, as workers tell it of theirs."""
    return {"host": platform.node(), "machine": machine(), "pid": os.getpid()}


def _proof() -> str:
    if sys.platform == "win32":
        return _of_windows()
    if sys.platform == "darwin":
        return f"{_sysctl('kern.bootsessionuuid')} {_sysctl('kern.uuid')}"
    return f"{_BOOT_ID.read_text('ascii').strip()} {_PID_NAMESPACE.readlink()}"


def _sysctl(name: str) -> str:
    """Return a text of the kernel (macOS); there are no pid namespaces there."""
    import ctypes

    size, value = ctypes.c_size_t(256), ctypes.create_string_buffer(256)
    if ctypes.CDLL(None).sysctlbyname(name.encode(), value, ctypes.byref(size), None, ctypes.c_size_t(0)):
        raise OSError(f"sysctl {name} is unknown")
    return value.value.decode()


def _of_windows() -> str:
    """Return the machine's identity and the number of its boot; clones of a machine share the former."""
    import winreg  # type: ignore[import-not-found,unused-ignore]  # on Windows only

    def read(key: str, name: str) -> object:
        access = winreg.KEY_READ | winreg.KEY_WOW64_64KEY  # type: ignore[attr-defined,unused-ignore]
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, key, 0, access) as opened:  # type: ignore[attr-defined,unused-ignore]
            return winreg.QueryValueEx(opened, name)[0]  # type: ignore[attr-defined,unused-ignore]

    guid = read(r"SOFTWARE\Microsoft\Cryptography", "MachineGuid")
    return f"{guid} {read(_PREFETCH, 'BootId')} {platform.node()}"
