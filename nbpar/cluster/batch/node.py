"""A job's side: connect to the gateway on the login node, fork engines, and end with the connection."""

from __future__ import annotations

import hmac
import json
import os
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil

from nbpar.cluster.batch.doors import in_url
from nbpar.cluster.batch.greeting import LONGEST_GREETING, answer, challenge, seal_key
from nbpar.cluster.fork_server.protocol import Line
from nbpar.cluster.remote import far

REACH_TIMEOUT = 5.0
"""Seconds for one address to accept a connection."""

PERSIST = 20.0
"""Seconds during which addresses are tried again, because a busy network may lose the first packets."""


class NodeSide(far.FarSide):
    """The far side in a job: its engines reach the controller through this connection, or directly.

    Args:
        settings: as of `FarSide`, with `address`, at which the login node was reached.
    """

    def facts(self) -> dict[str, Any]:
        age = (
            time.time() - psutil.Process().create_time()
        )  # of the job's script, which has become this process
        return {**super().facts(), "age": max(0.0, age)}

    def line(self, text: bytes) -> None:
        line: Line = json.loads(text)
        if line["do"] == "controller" and line["direct"]:
            connection = {**line["connection"], "interface": f"tcp://{self._settings['address']}", "ssh": ""}
            self._connection = json.dumps(connection)
        else:
            super().line(text)


class WrongGatewayError(Exception):
    """What answers does not know the key."""


def connect(meeting: dict[str, Any], job: int) -> tuple[socket.socket, str, bytes]:
    """Return a connection to the gateway, the address at which it was reached, and the key for lines.

    Args:
        meeting: `addresses` to try, `port`, `key`.
        job: this job's number.

    Raises:
        OSError: no address leads to the gateway; the message has what happened with each.
    """
    deadline = time.monotonic() + PERSIST
    while True:
        refusals = []
        for address in meeting["addresses"]:
            try:
                link = socket.create_connection((address, meeting["port"]), REACH_TIMEOUT)
            except OSError as error:
                refusals.append(f"{address}: {error.strerror or error}")
                continue
            try:
                seal = _greet(link, meeting["key"], job)
            except (OSError, WrongGatewayError) as error:
                link.close()
                refusals.append(f"{address}: {error}")
                continue
            return link, in_url(address), seal
        if time.monotonic() > deadline:
            raise OSError(f"no way to port {meeting['port']} of the login node ({'; '.join(refusals)})")
        threading.Event().wait(1.0)


def _greet(link: socket.socket, key: str, job: int) -> bytes:
    """Prove who we are, and check who answers; returns the key for lines."""
    link.settimeout(REACH_TIMEOUT)
    theirs, ours = _line_of(link), challenge()
    link.sendall(f"{job} {ours} {answer(key, 'job', job, theirs, ours)}\n".encode())
    if not hmac.compare_digest(_line_of(link), answer(key, "gateway", job, ours, theirs)):
        raise WrongGatewayError("something else answers there")
    link.settimeout(None)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return seal_key(key, theirs, ours)


def _line_of(link: socket.socket) -> str:
    """Read one line, and nothing behind it."""
    line = b""
    while not line.endswith(b"\n"):
        if not (byte := link.recv(1)) or len(line) > LONGEST_GREETING:
            raise WrongGatewayError("the connection was closed")
        line += byte
    return line.decode("ascii", "replace").strip()


def main(settings: dict[str, Any]) -> None:
    """Serve as the job that the environment names."""
    folder = Path(os.environ.pop("NBPAR_JOB_FOLDER"))
    job = int(os.environ.pop("NBPAR_JOB_NUMBER"))
    try:
        meeting = json.loads((folder / "meeting").read_text())
        link, address, seal = connect(meeting, job)
    except OSError as error:
        sys.exit(f"this job, on {socket.gethostname()}, cannot take part: {error}")
    for descriptor in (0, 1):
        os.dup2(link.fileno(), descriptor)
    os.close(link.detach())
    far.serve(NodeSide, {**settings, "address": address, "seal": seal})
