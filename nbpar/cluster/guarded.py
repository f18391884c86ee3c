"""A controller or engine of ipyparallel's local launchers that ends with its owner.

Run as `python -m nbpar.cluster.guarded controller|engine OWNER ARGUMENTS...`, where OWNER is a pid.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from nbpar.cluster.directory import PREFIX, remove_directory
from nbpar.cluster.watchdog import wait_gone


def command(kind: str) -> list[str]:
    """Command line of a guarded controller or engine owned by this process."""
    return [sys.executable, "-m", "nbpar.cluster.guarded", kind, str(os.getpid())]


def main(arguments: list[str]) -> None:
    """Execute the program in the arguments."""
    kind, owner, *rest = arguments
    threading.Thread(target=_end_with, args=(int(owner),), name="nbpar-owner", daemon=True).start()
    if kind == "controller":
        from nbpar.cluster.controller import Controller

        Controller.launch_instance(rest)
    else:
        from nbpar.cluster.engine import SteadyEngine

        SteadyEngine.launch_instance(rest)


def _end_with(owner: int) -> None:
    while not wait_gone(owner, 3600.0):
        pass
    private = Path(os.environ.get("IPP_PROFILE_DIR", "")).parent
    if private.name.startswith(PREFIX):
        remove_directory(private)
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
