"""The kernel's side of a template: start it, order processes from it, hear of their ends."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Protocol

from nbpar.cluster.deaths import Death, death_of
from nbpar.cluster.directory import create_directory, hold, remove_directory
from nbpar.cluster.orders import INTERNAL_VARIABLES, Line, Lines, Order, encode, order_line
from nbpar.errors import ClusterError

LOG = "template.log"

CLOSE_PATIENCE = 5.0
"""Seconds until a template that does not end is killed; its children go with it."""


class ProcessListener(Protocol):
    """What a process ordered from a template reports to; called in the template's thread."""

    def forked(self, pid: int) -> None:
        """It runs."""

    def ready(self, connection: Line) -> None:
        """A controller takes connections; `connection` has its two connection files."""

    def ended(self, death: Death) -> None:
        """It is gone."""

    def failed(self, reason: str) -> None:
        """It could not be started."""


def can_fork() -> bool:
    """Whether this system can run a template."""
    return hasattr(os, "fork") and hasattr(socket, "AF_UNIX")


class Template:
    """A warm process that forks controllers and engines for this one.

    It can be used from any thread.  It ends when it is closed or when this process ends,
    and takes along what it forked and its directory.

    Args:
        preload: modules that every engine finds imported.
        environment: variables that must be set before those are imported.
        path: `sys.path` for importing them; the current one by default.
    """

    def __init__(
        self,
        preload: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        path: Sequence[str] | None = None,
    ) -> None:
        self.preload = tuple(preload)
        self.environment = dict(environment or {})
        self.directory = create_directory()
        self.pid = 0
        self.owner = os.getpid()
        """Pid of the process that it belongs to."""
        self._listeners: dict[str, ProcessListener] = {}
        self._lock = threading.Lock()
        self._closed = False
        self._over = threading.Event()
        self._unsent: SimpleQueue[bytes | None] = SimpleQueue()
        self._problem = ""
        self._on_end: list[Callable[[str], None]] = []
        try:
            self._held = hold(self.directory)
            self._line, self._process = self._start(list(sys.path if path is None else path))
        except OSError as error:
            remove_directory(self.directory)
            raise ClusterError(_cannot_start(error)) from error
        self.pid = self._process.pid
        self._reader = threading.Thread(target=self._read, name="nbpar-template", daemon=True)
        self._writer = threading.Thread(target=self._write, name="nbpar-orders", daemon=True)
        self._reader.start()
        self._writer.start()

    @property
    def alive(self) -> bool:
        """Whether processes can be ordered from it."""
        return not self._closed and not self._over.is_set() and not self._problem

    @property
    def problem(self) -> str:
        """Why it cannot be used, "" when it can."""
        return self._problem

    def fork(self, order: Order, listener: ProcessListener) -> None:
        """Order a process; `listener` hears what becomes of it.

        Raises:
            ClusterError: the template is gone.
        """
        with self._lock:
            self._listeners[order.key] = listener
        if not self.alive:
            raise ClusterError(self._problem or "the template process is gone; start the cluster again")
        self._send(order_line(order))

    def signal(self, key: str, number: int) -> None:
        """Send a signal to a process forked here; nothing happens when it is gone."""
        self._send({"do": "signal", "key": key, "number": int(number)})

    def tell(self, key: str, line: Line) -> None:
        """Pass a line to a controller."""
        self._send({"do": "tell", "key": key, "line": line})

    def when_over(self, listener: Callable[[str], None]) -> None:
        """Have `listener` called with a reason when the template ends without having been closed."""
        with self._lock:
            self._on_end.append(listener)

    def log_tail(self) -> str:
        """The last lines of what the template printed."""
        return tail(self.directory / LOG)

    def close(self) -> None:
        """End the template and all that it forked, and wait until nothing is left; may be called twice."""
        if os.getpid() != self.owner:  # a fork of this process does not own it
            return
        with self._lock:
            first, self._closed = not self._closed, True
        if first:
            self._send({"do": "end"})
        if threading.current_thread() is self._reader:
            return
        self._reader.join(CLOSE_PATIENCE)
        if self._reader.is_alive():  # it hangs, in the import of a preloaded module perhaps
            self._process.kill()
            self._reader.join()

    # ---- the process

    def _start(self, path: list[str]) -> tuple[socket.socket, subprocess.Popen[bytes]]:
        ours, theirs = socket.socketpair()
        settings = {
            "descriptor": theirs.fileno(),
            "owner": os.getpid(),
            "directory": str(self.directory),
            "preload": list(self.preload),
            "path": path if self.preload else [],
        }
        variables = {name: value for name, value in os.environ.items() if name not in INTERNAL_VARIABLES}
        log = -1
        try:
            log = os.open(self.directory / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            process = subprocess.Popen(
                [sys.executable, "-m", "nbpar.cluster.template", json.dumps(settings)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                env={**variables, **self.environment},
                cwd=Path(__file__).parents[2],  # this very nbpar, whatever lies in the notebook's folder
            )
        except BaseException:
            ours.close()
            raise
        finally:
            if log >= 0:
                os.close(log)
            theirs.close()
        return ours, process

    def _send(self, line: Line) -> None:
        self._unsent.put(encode(line))

    def _write(self) -> None:
        """Send what others have put, in a thread of its own: a template that imports does not read."""
        while (block := self._unsent.get()) is not None:
            with suppress(OSError):  # it is gone: the reader says so
                self._line.sendall(block)

    # ---- the reader's thread

    def _read(self) -> None:
        lines = Lines()
        while True:
            try:
                block = self._line.recv(1 << 16)
            except OSError:
                block = b""
            if not block:
                break
            for line in lines.feed(block):
                self._hear(line)
        self._finish()

    def _hear(self, line: Line) -> None:
        if line["it"] == "unfit":
            self._problem = line["error"]
        with self._lock:
            listener = self._listeners.get(line.get("key", ""))
        if listener is None:
            return
        if line["it"] == "forked":
            listener.forked(line["pid"])
        elif line["it"] == "ready":
            listener.ready(line["connection"])
        elif line["it"] == "failed":
            listener.failed(line["error"])
        elif line["it"] == "ended":
            listener.ended(death_of(line["status"], out_of_memory=line["lack"]))
            with self._lock:
                self._listeners.pop(line["key"], None)

    def _finish(self) -> None:
        """The template is gone: clean up what it may not have had the time for, and tell."""
        code = self._process.wait()
        reason = f"the template process ended ({Death(code).reason})"
        log = self.log_tail()
        remove_directory(self.directory)
        os.close(self._held)
        with self._lock:
            expected, listeners, self._on_end = self._closed, self._on_end, []
        self._unsent.put(None)
        self._writer.join()
        self._line.close()
        self._over.set()
        if not expected:
            self._problem = self._problem or (f"{reason}; its log ends with:\n{log}" if log else reason)
            for listener in listeners:
                listener(reason)


def tail(path: Path, lines: int = 12) -> str:
    """The last lines of a log, "" when there is none."""
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def _cannot_start(error: OSError) -> str:
    import errno

    advice = {
        errno.EMFILE: "this process has too many open files; close some or raise `ulimit -n`",
        errno.ENFILE: "the system has too many open files",
        errno.EAGAIN: "no more processes are allowed; end some or raise `ulimit -u`",
        errno.ENOMEM: "the machine has no memory left",
        errno.ENOSPC: "the runtime directory has no room; set TMPDIR to another place",
    }.get(error.errno or 0, "see the cause above")
    return f"cannot start the cluster's processes: {error.strerror or error}: {advice}"
