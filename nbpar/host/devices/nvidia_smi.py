"""Ask `nvidia-smi`, which may be missing, or hang."""

from __future__ import annotations

import shutil
import subprocess
import threading
from contextlib import suppress

NVIDIA_SMI = "nvidia-smi"


def said_by_nvidia_smi(patience: float, *arguments: str) -> str:
    """Return what `nvidia-smi` prints; "" if it is not there, fails, or does not answer in time.

    What waits for it is a thread: a process that hangs in a driver ends neither by a signal nor soon.
    """
    program = shutil.which(NVIDIA_SMI)
    if program is None:
        return ""
    said: list[str] = []

    def ask() -> None:
        with suppress(OSError, subprocess.SubprocessError):
            done = subprocess.run(
                [program, *arguments], capture_output=True, check=True, stdin=subprocess.DEVNULL,
                text=True, errors="replace", timeout=patience,
            )  # fmt: skip
            said.append(done.stdout)

    thread = threading.Thread(target=ask, name="nbpar nvidia-smi", daemon=True)
    thread.start()
    thread.join(patience + 1.0)
    return said[0] if said else ""
