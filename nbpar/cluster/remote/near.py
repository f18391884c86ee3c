"""The near side: run ssh to one host, send the far side, and relay its connections to the controller.

Runs in a process of its own, forked from the fork server, because it must answer while the notebook computes.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from nbpar.cluster.directory import is_runtime_directory
from nbpar.cluster.fork_server.protocol import Line, LineBuffer, controller_ports, encode
from nbpar.cluster.remote.login import (
    LOCAL_SCRIPT,
    FoundPython,
    Search,
    found_python,
    no_python,
    packed_program,
    script,
    search_like_here,
    ssh_command,
    versions_here,
)
from nbpar.cluster.remote.multiplexer import FrameError, Multiplexer
from nbpar.cluster.remote.prompts import PromptServer
from nbpar.host.own_sources import WORKER_MODULES, WORKER_PACKAGES, packed, source, sources
from nbpar.host.socket_buffers import enlarge
from nbpar.version import __version__

END_WITHIN = 5.0
"""Seconds for ssh to end after the far side."""

LOCAL_COMMAND = ("sh", "-c", LOCAL_SCRIPT)
"""Starts the other side on this host, instead of ssh."""

CONNECT_WITHIN = 5.0
"""Seconds for a socket on this host to accept a connection."""

POOL_SOCKET = re.compile("pool-[0-9a-f]{8}")
"""Names of the sockets of pools."""

WORDS = 1 << 14
"""Bytes of ssh's messages that are kept."""

UNIMPORTANT = ("Warning: Permanently added", "Pseudo-terminal will not", "** ", "debug")
"""Starts of lines of ssh that explain nothing."""

ADVICE = (
    ("Host key verification failed", "run `{login}` once in a terminal and confirm its key"),
    ("Permission denied", "`{login} true` must work without a password, by a key or an agent"),
    ("Could not resolve hostname", "`{login}` must work in a terminal"),
)


def far_program(settings: dict[str, Any], main: str = "nbpar.cluster.remote.far") -> bytes:
    """What the Python on the host reads and runs: the function `main` of a module, with these settings."""
    program = source("nbpar.worker", "bootstrap.py") + "\n" + source("nbpar.cluster.remote", "start.py")
    shipment = packed(sources([*WORKER_PACKAGES, "nbpar.cluster"], WORKER_MODULES))
    content = {
        "version": __version__,
        "sources": base64.b64encode(shipment).decode("ascii"),
        "main": main,
        "settings": settings,
    }
    return packed_program(program, "<sent>/nbpar/cluster/remote/start.py", content)


class NearSide:
    """One host's ssh connection, seen from this side.

    Args:
        settings: `host`, `command`, `python`, and what the far side needs.
        link: to the owner.
    """

    def __init__(self, settings: dict[str, Any], link: socket.socket) -> None:
        self._host: str = settings["host"]
        self._settings = settings
        self._link = link
        self._orders = LineBuffer()
        self._mark = f"nbpar-{os.urandom(8).hex()}"
        self._search: Search = search_like_here(settings["python"], settings["install"])
        self._found: list[FoundPython] = []
        self._nothing_fits = False
        self._not_installed = False
        self._strange = b""
        """Output that came before the program's."""

        self._words = b""
        """What ssh and the host have said on standard error."""

        self._prompts: PromptServer | None = None
        self._answers: dict[int, Callable[[str | None], None]] = {}
        """Takers of answers, by the number of the question."""

        self._ready = False
        self._ports: set[int] = set()
        self._ending = 0.0
        """Time by which the far side must have ended, once it was told to; 0 before."""

    def run(self) -> int:
        """Connect and relay until one of the sides ends."""
        try:
            if self._settings["prompts"]:
                path = Path(self._settings["prompts"])
                self._prompts = PromptServer(path.parent, path.name, self._ask)
            self._process = self._start()
        except OSError as error:
            program = [*self._settings["command"], *LOCAL_COMMAND][0]
            reason = f"cannot run {program!r}: {error.strerror or error}"
            advice = "; install OpenSSH's client" if self._settings["command"] else ""
            self._tell({"host": "failed", "reason": f"{reason}{advice}"})
            return 1
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._multiplexer = Multiplexer(
            self._process.stdout.fileno(),
            self._process.stdin.fileno(),
            self,
            first=2,
            preamble=self._take_preamble,
            silence=self._settings["far"]["silence"],
        )
        os.set_blocking(self._process.stderr.fileno(), False)
        program = far_program({**self._settings["far"], "mark": self._mark}, self._settings["main"])
        self._multiplexer.send_raw(script(self._search, self._mark, len(program)).encode() + program)
        self._multiplexer.watch(self._process.stderr.fileno(), self._hear_words)
        self._multiplexer.watch(self._link, self._hear_owner)
        if self._prompts is not None:
            self._multiplexer.watch(self._prompts.fileno(), self._prompts.accept)
        with suppress(FrameError):
            while not self._multiplexer.ended and not self._overdue():
                self._multiplexer.step(1.0 if self._ending else None)
        return self._finish()

    # ---- events of the multiplexer

    def line(self, text: bytes) -> None:
        """Pass on a line of the far side."""
        self._tell({"host": "event", "line": json.loads(text)})

    def opened(self, payload: bytes) -> socket.socket | None:
        """Connect an engine to a port of the controller or to a pool of this user, and to nothing else."""
        try:
            if payload.isdigit() and int(payload) in self._ports:
                link = socket.create_connection(("127.0.0.1", int(payload)), CONNECT_WITHIN)
                link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return link
            path = Path(os.fsdecode(payload))
            if POOL_SOCKET.fullmatch(path.name) and is_runtime_directory(path.parent):
                return _connected(path)
        except OSError:
            pass
        return None

    # ---- steps

    def _start(self) -> subprocess.Popen[bytes]:
        here = not self._settings["command"]
        return subprocess.Popen(
            LOCAL_COMMAND
            if here
            else ssh_command(self._settings["command"], self._host, asks=self._prompts is not None),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=here,  # it cleans up when this process is killed, with its group
            env={**os.environ, **(self._prompts.environment if self._prompts is not None else {})},
        )

    def _take_preamble(self, buffer: bytearray) -> bool:
        """Take lines until the far side is ready; return whether it is."""
        while not self._ready and (end := buffer.find(b"\n")) >= 0:
            line = bytes(buffer[:end])
            del buffer[: end + 1]
            before, mark, said = line.partition(self._mark.encode())
            self._strange = (self._strange + before + b"\n")[-WORDS:]
            if mark:
                self._take(said.decode(errors="replace").strip())
        if not self._ready and len(buffer) > WORDS:
            self._strange = bytes(buffer[-WORDS:])
            del buffer[: -len(self._mark)]
        return self._ready

    def _take(self, said: str) -> None:
        what, _, rest = said.partition(" ")
        if what == "found":
            self._found.append(found_python(rest))
        elif what == "none":
            self._nothing_fits = True
        elif what == "broken":
            self._not_installed = True
        elif what == "ready":
            self._ready = True
            if self._prompts is not None:
                self._multiplexer.unwatch(self._prompts.fileno())
                self._prompts.close()
            self._tell({"host": "ready", **{f"its_{name}": fact for name, fact in json.loads(rest).items()}})

    def _hear_words(self) -> None:
        assert self._process.stderr is not None
        try:
            block = os.read(self._process.stderr.fileno(), 1 << 14)
        except BlockingIOError:
            return
        if not block:
            self._multiplexer.unwatch(self._process.stderr.fileno())
        self._words = (self._words + block)[-WORDS:]

    def _hear_owner(self) -> None:
        try:
            block = self._link.recv(1 << 16)
        except OSError:
            block = b""
        for line in self._orders.feed(block):
            self._obey(line)
        if not block:
            self._multiplexer.unwatch(self._link)
            self._end()

    def _hear_last_lines(self) -> None:
        """Take what the host said before it went, which writing to it may have shown before reading did."""
        assert self._process.stdout is not None
        rest = bytearray()
        with suppress(OSError):
            while block := os.read(self._process.stdout.fileno(), WORDS):
                rest += block
        self._take_preamble(rest)

    def _ask(self, question: str, answer: Callable[[str | None], None]) -> None:
        """Pass a question of ssh on to the owner."""
        number = len(self._answers)
        self._answers[number] = answer
        self._tell({"host": "asks", "question": question, "number": number})

    def _obey(self, line: Line) -> None:
        if line["do"] == "answer":
            self._answers[line["number"]](line["text"])
            return
        if line["do"] == "controller":
            self._ports = set(controller_ports(line["connection"]))
        if line["do"] == "end":
            self._end()
        else:
            self._multiplexer.send_line(json.dumps(line).encode())

    def _end(self) -> None:
        if not self._ending:
            self._ending = time.monotonic() + (self._settings["end_within"] if self._ready else 0.0)
            self._multiplexer.send_line(b'{"do": "end"}')

    def _overdue(self) -> bool:
        return bool(self._ending) and time.monotonic() > self._ending

    def _finish(self) -> int:
        """Wait for ssh's end, and say why it came if nobody asked for it."""
        process = self._process
        assert process.stdin is not None
        with suppress(OSError):
            process.stdin.close()
        if self._overdue() or self._multiplexer.silent:
            process.kill()
        try:
            process.wait(END_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        with suppress(OSError, ValueError):
            self._hear_words()
        if not self._ready:
            self._hear_last_lines()
        if not self._ending:
            self._tell({"host": "lost" if self._ready else "failed", "reason": self._reason()})
        return 0

    @property
    def _login(self) -> str:
        """The command that leads there, as one types it."""
        return shlex.join([*self._settings["command"], self._host])

    def _reason(self) -> str:
        """Why the connection has ended, in the words of ssh and the host."""
        if self._nothing_fits:
            return no_python(self._search, self._found, self._login, versions_here())
        if self._multiplexer.silent:
            return self._multiplexer.ended
        words = _important(self._words) or ("" if self._ready else _important(self._strange))
        if not words and self._process.returncode < 0:
            return self._multiplexer.ended
        program = " ".join(self._settings["command"]) or "its process"
        words = words or f"{program} ended with exit code {self._process.returncode}"
        if self._not_installed:
            return f"no environment could be made there: {words}"
        hints = [advice.format(login=self._login) for text, advice in ADVICE if text in words]
        return "; ".join([words, *hints[:1]])

    def _tell(self, line: Line) -> None:
        with suppress(OSError):  # the owner is gone, which ends this process
            self._link.sendall(encode(line))


def _connected(path: Path) -> socket.socket:
    """Return a connection to a Unix socket."""
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        link.settimeout(CONNECT_WITHIN)
        link.connect(str(path))
        enlarge(link)
    except BaseException:
        link.close()
        raise
    return link


def _important(words: bytes) -> str:
    lines = [line.strip() for line in words.decode(errors="replace").splitlines()]
    kept = [line for line in lines if line and not line.startswith(UNIMPORTANT)]
    return " / ".join(kept[-4:])


def main(settings: str, link: socket.socket) -> int:
    """Serve one host; runs in a child of the fork server."""
    return NearSide(json.loads(settings), link).run()
