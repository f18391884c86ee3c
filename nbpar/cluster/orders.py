"""What the kernel tells the template, and what the template tells back: one JSON line each."""

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
"""What ipyparallel hands to its processes; another cluster's must not reach ours."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The environment, folder and import path that a process finds when it starts."""

    environment: dict[str, str]
    """Every environment variable."""

    folder: str
    """Working directory."""

    path: list[str] = field(default_factory=list)
    """`sys.path`."""

    nice: int = 0
    """How much to lower the priority, as `os.nice` counts."""


@dataclass(frozen=True, slots=True)
class Order:
    """A process to fork."""

    key: str
    """Name of the process between kernel and template; an engine's identity at the controller."""

    kind: Literal["controller", "engine"]
    """What it becomes."""

    arguments: list[str]
    """Command line for ipyparallel's application."""

    surroundings: Surroundings
    """What it finds when it starts."""

    log: str
    """File that takes its standard output and error."""

    controller: str = ""
    """Key of the controller that an engine registers with; it is forked when that is ready."""


def surroundings_here(
    environment: Mapping[str, str] | None = None, folder: str | None = None, nice: int = 0
) -> Surroundings:
    """What this process would hand to a child, with `environment` added to its own variables."""
    variables = {name: value for name, value in os.environ.items() if name not in INTERNAL_VARIABLES}
    variables.update(environment or {})
    return Surroundings(variables, folder or _folder_here(), list(sys.path), nice)


def order_line(order: Order) -> Line:
    """The line that asks for the process."""
    return {"do": "fork", **asdict(order)}


def order_of(line: Line) -> Order:
    """The order that `order_line` made."""
    fields = {name: value for name, value in line.items() if name != "do"}
    return Order(**{**fields, "surroundings": Surroundings(**fields["surroundings"])})


def encode(line: Line) -> bytes:
    """The line as bytes; undecodable bytes of file names and variables survive."""
    return json.dumps(line).encode("ascii") + b"\n"


class Lines:
    """Cut a stream of bytes into lines."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, block: bytes) -> Iterator[Line]:
        """The lines that `block` completes."""
        *whole, self._rest = (self._rest + block).split(b"\n")
        for line in whole:
            yield json.loads(line)


def _folder_here() -> str:
    try:
        return os.getcwd()  # noqa: PTH109 (a Path is not wanted)
    except FileNotFoundError:  # somebody removed it under the running process
        return tempfile.gettempdir()
