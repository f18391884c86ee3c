"""The far side: on a host at the end of an ssh connection, fork engines and relay their connections.

Engines connect to sockets in a private directory, and their bytes travel through the ssh connection to the
controller.  Everything here ends when standard input does: the fork server ends with this process, the
engines end with the fork server, and it removes the directory.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from nbpar.cluster.directory import RuntimeDirectory, ipython_folder, tail
from nbpar.cluster.fork_server.protocol import (
    INTERNAL_VARIABLES,
    ForkRequest,
    Line,
    LineBuffer,
    Surroundings,
    controller_ports,
    encode,
    request_line,
)
from nbpar.cluster.remote.multiplexer import FrameError, Multiplexer
from nbpar.host.cpus import thread_limits, usable_cpus
from nbpar.host.descriptors import raise_descriptor_limit
from nbpar.host.relay_words import ACCEPTED, POOLS

LONGEST_ADDRESS = 256
"""Bytes of the longest address of a pool."""


class FarSide:
    """Relays between a fork server on this host and the other side.

    Args:
        settings: from the other side: `mark`, `preload`, `path`, `environment`, `silence`.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        self._settings = settings
        self._runtime = RuntimeDirectory()
        self._directory = self._runtime.path
        self._path = [*(entry for entry in settings["path"] if Path(entry).is_dir()), *filter(None, sys.path)]
        self._listeners: list[socket.socket] = []
        self._connection = ""
        self._logs: dict[str, Path] = {}
        self._forked = 0
        self._ending = False
        self._lines = LineBuffer()
        self._server, self._server_pid = self._fork_server()
        seal = settings.get("seal", b"")
        self._multiplexer = Multiplexer(0, 1, self, first=1, silence=settings["silence"], seal=seal)

    def serve(self) -> None:
        """Relay until the other side is gone or ends this one; afterwards nothing is left here."""
        self._multiplexer.send_raw(f"{self._settings['mark']} ready {json.dumps(self.facts())}\n".encode())
        self._multiplexer.watch(self._server, self._hear_server)
        try:
            while not (self._ending or self._multiplexer.ended):
                self._multiplexer.step()
        except FrameError:
            pass
        finally:
            self._clean_up()

    def facts(self) -> dict[str, Any]:
        """What the other side is told of this one."""
        return {
            "python": sys.executable,
            "host": platform.node(),
            "cpus": usable_cpus(),
            "pid": os.getpid(),
        }

    # ---- what the other side says

    def line(self, text: bytes) -> None:
        """Obey a line of the other side."""
        line: Line = json.loads(text)
        if line["do"] == "controller":
            self._listen(line["connection"])
        elif line["do"] == "fork":
            self._order(line)
        elif line["do"] == "signal":
            self._tell_server(line)
        elif line["do"] == "end":
            self._ending = True

    def opened(self, payload: bytes) -> None:
        """Refuse a stream from there."""

    def _listen(self, connection: dict[str, Any]) -> None:
        """Make a socket for each port of the controller."""
        base = self._directory / "c"
        for port in controller_ports(connection):
            listener = _listener(f"{base}:{port}")
            self._listeners.append(listener)
            self._multiplexer.watch(listener, self._accepter(listener, port))
        pools = _listener(f"{base}{POOLS}")
        self._listeners.append(pools)
        self._multiplexer.watch(pools, lambda: self._accept_for_pool(pools))
        self._connection = json.dumps({**connection, "interface": f"ipc://{base}", "ssh": ""})

    def _accepter(self, listener: socket.socket, port: int) -> Callable[[], None]:
        def accept() -> None:
            with suppress(OSError):
                link, _ = listener.accept()
                self._multiplexer.open(link, str(port).encode())

        return accept

    def _accept_for_pool(self, listener: socket.socket) -> None:
        """Connect an engine to the pool whose address it says first."""
        try:
            link, _ = listener.accept()
        except OSError:
            return
        link.setblocking(False)
        said = bytearray()

        def hear() -> None:
            try:
                said.extend(block := link.recv(LONGEST_ADDRESS))
            except BlockingIOError:
                return
            except OSError:
                block = b""
            if said.endswith(b"\n") or not block or len(said) > LONGEST_ADDRESS:
                self._multiplexer.unwatch(link)
                if said.endswith(b"\n"):
                    self._multiplexer.open(link, bytes(said[:-1]), ACCEPTED)
                else:
                    link.close()

        self._multiplexer.watch(link, hear)

    def _order(self, line: Line) -> None:
        folder = line["folder"]
        if not Path(folder).is_dir():
            if line["folder_required"]:
                self._say(
                    {"it": "failed", "key": line["key"], "error": f"there is no folder {folder!r} there"}
                )
                return
            folder = str(Path.home())
        self._forked += 1
        log = self._logs[line["key"]] = self._directory / f"engine-{self._forked:03}.log"
        added = {**line["environment"], "IPYTHONDIR": str(ipython_folder(self._directory))}
        here = {name: value for name, value in os.environ.items() if name not in INTERNAL_VARIABLES}
        limits = thread_limits(line["together"], {**here, **added})
        environment = {**here, **limits, **added, "IPP_CONNECTION_INFO": self._connection}
        arguments = [
            *line["arguments"],
            f"--profile-dir={self._directory / 'profile'}",
            f"--Session.session={line['key']}",
            f"--work-dir={folder}",
        ]
        surroundings = Surroundings(environment, folder, self._path, line["nice"])
        with suppress(OSError):  # a full disk, for example: the process reports failures itself
            self._runtime.restore()
        self._tell_server(request_line(ForkRequest(line["key"], "engine", arguments, surroundings, str(log))))

    # ---- the fork server

    def _fork_server(self) -> tuple[socket.socket, int]:
        ours, theirs = socket.socketpair()
        owner, settings = os.getpid(), self._settings
        pid = os.fork()
        if pid:
            theirs.close()
            return ours, pid
        try:
            ours.close()
            os.setsid()
            _redirect(self._directory / "template.log")
            os.environ.update(settings["environment"])
            from nbpar.cluster.fork_server.process import serve

            serve(theirs, owner, self._directory, "engines", settings["preload"], self._path)
        except BaseException:  # noqa: BLE001 (nothing may climb back into the parent's code)
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(1)

    def _tell_server(self, line: Line) -> None:
        with suppress(OSError):  # it is gone, which is noticed when it is heard
            self._server.sendall(encode(line))

    def _hear_server(self) -> None:
        try:
            block = self._server.recv(1 << 16)
        except OSError:
            block = b""
        for line in self._lines.feed(block):
            log = self._logs.pop(line["key"], None) if line["it"] in ("ended", "failed") else None
            self._say({**line, "log": tail(log) if log is not None and line.get("status") else ""})
        if not block:
            self._say({"it": "broken", "log": tail(self._directory / "template.log")})
            self._ending = True

    def _say(self, line: Line) -> None:
        self._multiplexer.send_line(json.dumps(line).encode())

    def _clean_up(self) -> None:
        for listener in self._listeners:
            listener.close()
        self._tell_server({"do": "end"})
        with suppress(ChildProcessError):
            os.waitpid(self._server_pid, 0)
        self._runtime.remove()
        for _ in range(20):  # what has been said may explain the end
            if self._multiplexer.ended or not self._multiplexer.waiting:
                break
            self._multiplexer.step(0.1)


def _listener(path: str) -> socket.socket:
    """Return a socket at which engines can connect."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen(256)
    listener.setblocking(False)
    return listener


def _redirect(log: Path) -> None:
    """Leave the ssh connection to the parent process."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError:
        output = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)


def main(settings: dict[str, Any]) -> None:
    """Serve on standard input and output."""
    serve(FarSide, settings)


def serve(kind: Callable[[dict[str, Any]], FarSide], settings: dict[str, Any]) -> None:
    """Let a far side serve until it ends, and end this process."""
    for number in (signal.SIGINT, signal.SIGHUP):  # the end of standard input is what counts
        signal.signal(number, signal.SIG_IGN)
    side = kind(settings)
    with suppress(ValueError, OSError):
        raise_descriptor_limit()  # of this process alone: not of its fork server
    side.serve()
    os._exit(0)
