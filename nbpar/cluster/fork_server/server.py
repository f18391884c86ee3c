"""Client of the fork server: start it, order processes, get notified of their ends."""

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
from typing import Protocol, cast

from nbpar.cluster.base import Settings
from nbpar.cluster.directory import RuntimeDirectory, tail
from nbpar.cluster.fork_server.protocol import (
    INTERNAL_VARIABLES,
    ForkRequest,
    Line,
    LineBuffer,
    encode,
    request_line,
)
from nbpar.errors import ClusterError
from nbpar.host.cpus import thread_limits
from nbpar.host.exit_status import Death, death_in
from nbpar.host.interpreter_exit import ExitOrder, interpreter

LOG = "template.log"

CLOSE_PATIENCE = 5.0
"""Seconds until a template that does not end is killed, together with its children."""


class ProcessListener(Protocol):
    """Receives the events of a process ordered from a template; called in the template's thread."""

    def forked(self, pid: int) -> None:
        """The process is running."""

    def ready(self, connection: Line) -> None:
        """A controller accepts connections; `connection` has its two connection files."""

    def ended(self, death: Death) -> None:
        """The process is gone."""

    def failed(self, reason: str) -> None:
        """The process could not be started."""


class HostListener(ProcessListener, Protocol):
    """Receives the events of a connection to a host, too."""

    def said(self, line: Line) -> None:
        """The connection reports something."""


def can_fork() -> bool:
    """Whether this system supports fork servers."""
    return hasattr(os, "fork") and hasattr(socket, "AF_UNIX")


class ForkServer:
    """A fork server: a warm process that forks controllers and engines for this one.

    Thread-safe.  It ends when it is closed or when this process ends,
    together with its children and its directory.

    Args:
        preload: modules to import before engines are forked.
        environment: variables to set before these imports.
        path: `sys.path` for importing them; the current one by default.
        stack: what it imports: "engines" for a controller and its engines, "workers" for those without one.
        devices: whether its children have devices of their own, so that these imports must not use any.
    """

    def __init__(
        self,
        preload: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        path: Sequence[str] | None = None,
        *,
        stack: str = "engines",
        devices: bool = False,
    ) -> None:
        self.preload = tuple(preload)
        self.environment = dict(environment or {})
        self._stack = stack
        self._devices = devices
        self._runtime = RuntimeDirectory()
        self.directory = self._runtime.path
        self.pid = 0
        self.owner = os.getpid()
        """Pid of its owner."""
        self._listeners: dict[str, ProcessListener] = {}
        self._lock = threading.Lock()
        self._closed = False
        self._over = threading.Event()
        self._unsent: SimpleQueue[bytes | None] = SimpleQueue()
        self._problem = ""
        self._on_end: list[Callable[[str], None]] = []
        try:
            self._line, self._process = self._start(list(sys.path if path is None else path))
        except OSError as error:
            self._runtime.remove()
            raise ClusterError(_cannot_start(error)) from error
        self.pid = self._process.pid
        self._reader = threading.Thread(target=self._read, name="nbpar-template", daemon=True)
        self._writer = threading.Thread(target=self._write, name="nbpar-orders", daemon=True)
        self._reader.start()
        self._writer.start()

    @property
    def alive(self) -> bool:
        """Whether it accepts orders."""
        return not self._closed and not self._over.is_set() and not self._problem

    @property
    def problem(self) -> str:
        """Why it is unusable, "" if it is usable."""
        return self._problem

    @property
    def in_its_thread(self) -> bool:
        """Whether the caller is the thread that notifies of events, which must not wait for any."""
        return threading.current_thread() is self._reader

    def fork(self, order: ForkRequest, listener: ProcessListener) -> None:
        """Order a process; `listener` gets its events.

        Raises:
            ClusterError: the template is gone.
        """
        if not self.alive:
            raise ClusterError(self._problem or "the template process is gone; start the cluster again")
        with self._lock:
            self._listeners[order.key] = listener
        self._keep_directory()
        self._send(request_line(order))

    def signal(self, key: str, number: int) -> None:
        """Send a signal to a process forked here; does nothing if it is gone."""
        self._send({"do": "signal", "key": key, "number": int(number)})

    def tell(self, key: str, line: Line) -> None:
        """Send a line to a controller, or to a connection to a host."""
        self._send({"do": "tell", "key": key, "line": line})

    def when_over(self, listener: Callable[[str], None]) -> None:
        """Call `listener` with a reason if the template ends without having been closed."""
        with self._lock:
            self._on_end.append(listener)

    def log_tail(self) -> str:
        """The last lines of the template's output."""
        return tail(self.directory / LOG)

    def close(self) -> None:
        """End the template and its children, and wait until nothing is left.  Idempotent."""
        if os.getpid() != self.owner:  # a fork of this process does not own it
            return
        with self._lock:
            first, self._closed = not self._closed, True
        if first:
            self._send({"do": "end"})
        if threading.current_thread() is self._reader:
            return
        self._reader.join(CLOSE_PATIENCE)
        if self._reader.is_alive():  # it hangs, possibly importing a preloaded module
            self._process.kill()
            self._reader.join()

    def _keep_directory(self) -> None:
        """Recreate the directory if it was cleaned up; engines need it."""
        try:
            self._runtime.restore()
        except PermissionError as error:
            raise ClusterError(f"{error}; start the cluster again") from None
        except OSError:
            pass  # a full disk, for example: the processes report failures themselves

    # ---- the process

    def _start(self, path: list[str]) -> tuple[socket.socket, subprocess.Popen[bytes]]:
        ours, theirs = socket.socketpair()
        settings = {
            "descriptor": theirs.fileno(),
            "owner": os.getpid(),
            "directory": str(self.directory),
            "stack": self._stack,
            "preload": list(self.preload),
            "path": path if self.preload else [],
            "devices": self._devices,
        }
        variables = {name: value for name, value in os.environ.items() if name not in INTERNAL_VARIABLES}
        log = -1
        try:
            log = os.open(self.directory / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            process = subprocess.Popen(
                [sys.executable, "-m", "nbpar.cluster.fork_server.process", json.dumps(settings)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                env={**variables, **self.environment},
                cwd=Path(__file__).parents[2],  # this version of nbpar, whatever is in the notebook's folder
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
        """Send queued orders, in a thread of its own: a template does not read while it imports."""
        while (block := self._unsent.get()) is not None:
            with suppress(OSError):  # it is gone: the reader reports that
                self._line.sendall(block)

    # ---- the reader's thread

    def _read(self) -> None:
        lines = LineBuffer()
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
        if line["it"] in ("ended", "failed"):
            with self._lock:
                self._listeners.pop(line["key"], None)
        if line["it"] == "forked":
            listener.forked(line["pid"])
        elif line["it"] == "ready":
            listener.ready(line["connection"])
        elif line["it"] == "said":
            cast("HostListener", listener).said(line["line"])
        elif line["it"] == "failed":
            listener.failed(line["error"])
        elif line["it"] == "ended":
            listener.ended(death_in(line))

    def _finish(self) -> None:
        """Handle the end of the template: clean up what it could not, and notify listeners."""
        code = self._process.wait()
        reason = f"the template process ended ({Death(code).reason})"
        log = self.log_tail()
        self._runtime.remove()
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


_lock = threading.Lock()
_spare: ForkServer | None = None


def warm() -> None:
    """Start a template in the background, for the next cluster; returns at once."""
    global _spare  # noqa: PLW0603 (one for each process, made on demand)
    if not can_fork():
        return
    with _lock:
        if _spare is None or not _usable(_spare):
            _spare = ForkServer()
            interpreter.end_with(_spare.close, ExitOrder.SPARE)


def cool() -> None:
    """End the waiting template, if there is one."""
    template = _take()
    if template is not None:
        template.close()


def fork_server_for(settings: Settings, engines: int, *, stack: str = "engines") -> ForkServer:
    """Return the waiting template, if suitable, or a new one; the caller owns it."""
    if not settings.preload and stack == "engines":
        template = _take()
        if template is not None:
            return template
    added = dict(settings.environment)
    limits = thread_limits(engines, {**os.environ, **added}) if settings.preload else {}
    return ForkServer(
        settings.preload,
        {**limits, **added} if settings.preload else {},
        stack=stack,
        devices=settings.per_worker is not None and settings.per_worker.devices,
    )


def _take() -> ForkServer | None:
    global _spare
    with _lock:
        template, _spare = _spare, None
    if template is None or not _usable(template):
        return None
    interpreter.forget(template.close)
    return template


def _usable(template: ForkServer) -> bool:
    """Whether it runs and is ours: a fork of this process inherits the variable, not the template."""
    return template.alive and template.owner == os.getpid()
