"""Questions of ssh, such as for a passphrase or a one-time code, and their answers.

ssh asks through a program (SSH_ASKPASS) because it has no terminal: that program connects to a socket in the
cluster's private directory, and the answer comes from whoever starts the cluster.
"""

from __future__ import annotations

import shlex
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from getpass import getpass
from pathlib import Path

from nbpar.host.shell import on_an_engine, this_kernel

CONFIRMS = "(yes/no"
"""In a question whose answer may be shown."""

LONGEST = 1 << 14
"""Bytes of a question."""

_PROGRAM = (
    "import socket,sys\n"
    "s=socket.socket(socket.AF_UNIX)\n"
    "s.connect({path!r})\n"
    "s.sendall(sys.argv[1].encode())\n"
    "s.shutdown(socket.SHUT_WR)\n"
    "b=b''\n"
    "while True:\n"
    " c=s.recv(4096)\n"
    " if not c: break\n"
    " b+=c\n"
    "if b[:1]!=b'+': sys.exit(1)\n"
    "sys.stdout.buffer.write(b[1:]+b'\\n')\n"
)


def can_ask() -> bool:
    """Whether this thread can ask the user a question: in a terminal, or in a front end that takes input."""
    if threading.current_thread() is not threading.main_thread() or on_an_engine():
        return False
    kernel = this_kernel()
    if kernel is not None:
        return bool(getattr(kernel, "_allow_stdin", False))
    return bool(sys.stdin is not None and sys.stdin.isatty())


def ask_user(host: str, question: str) -> str | None:
    """Return the user's answer, None if there is none."""
    text = f"ssh {host}: {question.strip()} "
    try:
        return input(text) if CONFIRMS in question else getpass(text)
    except (EOFError, RuntimeError):  # no input after all
        return None


class PromptServer:
    """The socket to which ssh's program for questions connects.

    Args:
        directory: a private directory with a short path.
        name: name of its files there.
        ask: passes a question on, with what takes the answer: a text, or None for none.
    """

    def __init__(
        self, directory: Path, name: str, ask: Callable[[str, Callable[[str | None], None]], None]
    ) -> None:
        self._ask = ask
        self._path = directory / name
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._path))
        self._listener.listen(8)
        self._program = directory / f"{name}.sh"
        code = shlex.quote(f"exec({_PROGRAM.format(path=str(self._path))!r})")
        self._program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -I -S -c {code} "$1"\n')
        self._program.chmod(0o700)

    def fileno(self) -> int:
        """The descriptor to wait for."""
        return self._listener.fileno()

    @property
    def environment(self) -> dict[str, str]:
        """Variables that make ssh ask here."""
        return {"SSH_ASKPASS": str(self._program), "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":0"}

    def accept(self) -> None:
        """Take a question and pass it on."""
        link, _ = self._listener.accept()
        question = b""
        with suppress(OSError):
            link.settimeout(5.0)
            while len(question) < LONGEST and (block := link.recv(4096)):
                question += block

        def answer(text: str | None) -> None:
            with suppress(OSError), link:  # ssh is gone
                if text is not None:
                    link.sendall(b"+" + text.encode())

        self._ask(question.decode(errors="replace"), answer)

    def close(self) -> None:
        """Ask no more."""
        self._listener.close()
        for path in (self._path, self._program):
            path.unlink(missing_ok=True)
