"""Run a batch system's commands in a thread, one after the other, and hand over what they say."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue

import psutil

PATIENCE = 60.0
"""Seconds for a command to end; a busy batch system may take long."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a command has printed."""

    worked: bool
    """Whether it ended with exit code 0."""

    output: str
    """Its standard output."""

    words: str
    """Why it did not work, in its own words."""


def run_command(command: Sequence[str], folder: Path, given: str = "", *, patience: float = PATIENCE) -> Said:
    """Run a command in a folder, with text for its standard input; it is killed when it takes too long."""
    variables = {name: value for name, value in os.environ.items() if not _of_a_job(name)}
    try:
        done = subprocess.run(
            list(command),
            input=given,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=patience,
            cwd=folder,
            env={**variables, "LC_ALL": "C"},
            check=False,
        )
    except FileNotFoundError:
        return Said(False, "", f"there is no command {command[0]!r} here; is this a login node?")
    except OSError as error:
        return Said(False, "", f"cannot run {command[0]!r}: {error.strerror or error}")
    except subprocess.TimeoutExpired:
        return Said(False, "", f"`{command[0]}` did not answer within {patience:.0f} s")
    if done.returncode == 0:
        return Said(True, done.stdout, done.stderr.strip())
    said = " / ".join(f"{done.stderr}\n{done.stdout}".split("\n")).strip(" /")
    return Said(False, done.stdout, said or f"`{command[0]}` ended with exit code {done.returncode}")


def _of_a_job(variable: str) -> bool:
    """Whether a variable describes the job in which the notebook runs, which is no pattern for others."""
    return variable.startswith("SLURM_") and variable not in ("SLURM_CONF", "SLURM_CLUSTERS")


class Commands:
    """Runs commands in a thread; `deliver`, in the caller's thread, passes on what they have said.

    Args:
        folder: where they run.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._orders: SimpleQueue[tuple[list[str], Callable[[Said], None], str] | None] = SimpleQueue()
        self._said: SimpleQueue[tuple[Callable[[Said], None], Said]] = SimpleQueue()
        self._wakeup, self._waker = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="nbpar-commands", daemon=True)
        self._thread.start()

    def fileno(self) -> int:
        """A descriptor that can be read when there is something to deliver."""
        return self._wakeup.fileno()

    def order(self, command: list[str], then: Callable[[Said], None], *, given: str = "") -> None:
        """Run a command after those that wait, and then call `then`, in the thread that delivers."""
        self._orders.put((command, then, given))

    def deliver(self) -> None:
        """Pass on what was said."""
        self._wakeup.recv(4096)
        while True:
            try:
                then, said = self._said.get_nowait()
            except Empty:
                return
            then(said)

    def finish(self, patience: float) -> None:
        """Drop the waiting commands, let the one that runs end or kill it, and pass on what it says."""
        while True:
            try:
                self._orders.get_nowait()
            except Empty:
                break
        self._orders.put(None)
        self._thread.join(patience)
        if self._thread.is_alive():
            for child in psutil.Process().children():
                with suppress(psutil.Error):
                    child.kill()
            self._thread.join()
        with self._waker:
            self._waker.send(b"!")
        self.deliver()
        self._wakeup.close()

    def _run(self) -> None:
        while (order := self._orders.get()) is not None:
            command, then, given = order
            self._said.put((then, run_command(command, self._folder, given)))
            self._waker.send(b"!")
