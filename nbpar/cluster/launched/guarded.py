"""A controller or engine of ipyparallel's local launchers that ends with its owner.

Run as `python -m nbpar.cluster.launched.guarded KIND OWNER ARGUMENTS...`, where KIND is `controller`,
`engine`, `program` or `rank`, and OWNER a pid, for a rank the path of its orders; the arguments of a program
begin with its name.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from nbpar.cluster.directory import PREFIX, remove_directory
from nbpar.cluster.shared_folder import SHARED_PREFIX
from nbpar.cluster.watchdog import wait_gone

LOOK = 1.0
"""Seconds between two looks whether a program still runs."""

PATIENCE = 5.0
"""Seconds for a program to end before it is killed."""


def command(kind: str, owner: str = "") -> list[str]:
    """Command line of a guarded process owned by this one; for a rank `owner` is the path of its orders."""
    return [sys.executable, "-m", "nbpar.cluster.launched.guarded", kind, owner or str(os.getpid())]


def main(arguments: list[str]) -> None:
    """Execute the program in the arguments."""
    kind, owner, *rest = arguments
    if kind == "program":
        _become_program(int(owner), rest)
    if pid := _prepare_rank(owner) if kind == "rank" else int(owner):
        threading.Thread(target=_end_with, args=(pid,), name="nbpar-owner", daemon=True).start()
    if kind == "controller":
        from nbpar.cluster.controller import Controller

        Controller.launch_instance(rest)
    else:
        from nbpar.cluster.engine import SteadyEngine

        SteadyEngine.launch_instance(rest)


def _prepare_rank(orders: str) -> int:
    from nbpar.cluster.launched.ranks import prepare

    return prepare(orders)


def _become_program(owner: int, program: list[str]) -> NoReturn:
    """Execute another program, with a process beside it that ends it with the owner."""
    target = os.getpid()
    if (child := os.fork()) == 0:
        if os.fork() == 0:  # the program must not find a child that it does not know
            os.setsid()
            _end_program_with(owner, target)
        os._exit(0)
    os.waitpid(child, 0)
    os.execvp(program[0], program)  # noqa: S606 (what the user has asked for)


def _end_program_with(owner: int, target: int) -> None:
    while not wait_gone(owner, LOOK):
        if wait_gone(target, 0.0):
            return
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.kill(target, number)
        if wait_gone(target, PATIENCE):
            return


def _end_with(owner: int) -> None:
    while not wait_gone(owner, 3600.0):
        pass
    private = Path(os.environ.get("IPP_PROFILE_DIR", "")).parent
    if private.name.startswith((PREFIX, SHARED_PREFIX)):
        remove_directory(private)
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
