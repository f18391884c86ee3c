"""The protocol between this process and its fork server: one JSON line for each message."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Line = dict[str, Any]

INTERNAL_VARIABLES = (
    "IPP_CLUSTER_ID",
    "IPP_PROFILE_DIR",
    "IPP_SESSION_KEY",
    "IPP_CONNECTION_INFO",
    "IPP_CURVE_SERVERKEY",
    "IPP_CURVE_PUBLICKEY",
    "IPP_CURVE_SECRETKEY",
)
"""Variables that ipyparallel passes to its processes; another cluster's must not reach ours."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The environment, folder and import path of a starting process."""

    environment: dict[str, str]
    """Every environment variable."""

    folder: str
    """Working directory."""

    path: list[str] = field(default_factory=list)
    """`sys.path`."""

    nice: int = 0
    """Decrease of the priority, as in `os.nice`."""


@dataclass(frozen=True, slots=True)
class ForkRequest:
    """A process to fork."""

    key: str
    """Name of the process in the protocol; an engine's identity at the controller."""

    kind: Literal["controller", "engine", "worker", "host"]
    """The kind of process; "worker" is an engine without a controller, "host" the connection to a host."""

    arguments: list[str]
    """Command line for ipyparallel's application; settings of a connection, as JSON."""

    surroundings: Surroundings
    """Its environment at the start."""

    log: str
    """File for its standard output and error."""

    controller: str = ""
    """Key of an engine's controller; the engine is forked when that is ready."""


def surroundings_here(
    environment: Mapping[str, str] | None = None, folder: str | None = None, nice: int = 0
) -> Surroundings:
    """The environment that this process would pass to a child, with `environment` added to its variables."""
    variables = {name: value for name, value in os.environ.items() if name not in INTERNAL_VARIABLES}
    variables.update(environment or {})
    return Surroundings(variables, folder or _folder_here(), list(sys.path), nice)


PORT_KEYS = ("registration", "control", "mux", "task", "iopub", "hb_ping", "hb_pong")
"""Ports of a controller that engines connect to; `broadcast` has a list of others."""


def controller_ports(connection: Mapping[str, Any]) -> list[int]:
    """The ports in an engine's connection data, each once."""
    single = [int(connection[key]) for key in PORT_KEYS if key in connection]
    return list(dict.fromkeys([*single, *map(int, connection.get("broadcast") or ())]))


def request_line(order: ForkRequest) -> Line:
    """The line that orders the process."""
    return {"do": "fork", **asdict(order)}


def order_of(line: Line) -> ForkRequest:
    """Return the order in a line of `request_line`."""
    fields = {name: value for name, value in line.items() if name != "do"}
    return ForkRequest(**{**fields, "surroundings": Surroundings(**fields["surroundings"])})


def encode(line: Line) -> bytes:
    """The line as bytes; undecodable bytes of file names and variables survive."""
    return json.dumps(line).encode("ascii") + b"\n"


class LineBuffer:
    """Splits a stream of bytes into lines."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, block: bytes) -> Iterator[Line]:
        """Return the lines completed by `block`."""
        *whole, self._rest = (self._rest + block).split(b"\n")
        for line in whole:
            yield json.loads(line)


def _folder_here() -> str:
    try:
        return os.getcwd()  # noqa: PTH109 (a Path is not wanted)
    except FileNotFoundError:  # the working directory of the running process was removed
        return tempfile.gettempdir()
