"""Ranks of an MPI program on several hosts: what they need is in a folder that these share.

`mpiexec` does not pass its environment on to other hosts, and others can read its command line.  So a rank
reads the environment of the engines from a file, and finds out itself at which of the addresses of this host
it can reach the controller.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nbpar.cluster.batch.doors import addresses_here, in_url
from nbpar.cluster.shared_folder import make_shared_folder
from nbpar.core.text import short
from nbpar.errors import ClusterError
from nbpar.host.machine import is_here, machine

SECTION = "RanksOfNbpar"
"""Section of the launcher's configuration that has the folder; ipyparallel ignores it."""

REACH_TIMEOUT = 5.0
"""Seconds for one address to accept a connection."""

PERSIST = 20.0
"""Seconds during which addresses are tried again, because a busy network may lose the first packets."""

ORDERS = "ranks"
"""Name of the file in the folder."""


def slots_of(hosts: Any) -> dict[str, int]:
    """Return the number of ranks on each host.

    Args:
        hosts: a mapping of names to numbers, or names that may end in a number: `["gpu01:4", "gpu02"]`.

    Raises:
        ClusterError: it is neither.
    """
    pairs = list(hosts.items()) if isinstance(hosts, Mapping) else _pairs(hosts)
    wrong = [name for name, number in pairs if not (name and type(number) is int and number > 0)]
    if wrong or not pairs or len(dict(pairs)) < len(pairs):
        raise ClusterError(
            f'hosts must be names with their numbers of ranks, as in {{"gpu01": 4, "gpu02": 4}} or '
            f'["gpu01:4", "gpu02:4"], each once, was {short(hosts)}'
        )
    return dict(pairs)


def _pairs(hosts: Any) -> list[tuple[str, int]]:
    given = [hosts] if isinstance(hosts, str) else hosts
    if not isinstance(given, Sequence) or not all(isinstance(one, str) for one in given):
        return []
    split = [(one.partition(":")[0], one.partition(":")[2] or "1") for one in given]
    return [(name, int(number) if number.isdecimal() else 0) for name, number in split]


def ranks_of(
    n: int | None,
    hosts: Any,
    command: str | Sequence[str],
    arguments: Sequence[str],
    run_folder: str | os.PathLike[str] | None,
) -> tuple[int | None, dict[str, Any]]:
    """Return the number of ranks and ipyparallel's configuration; arguments as of `Cluster.mpi`.

    Raises:
        ClusterError: `hosts` is not valid.
    """
    words = [command] if isinstance(command, str) else list(command)
    launcher = {"mpi_cmd": words, "mpi_args": list(arguments)}
    if hosts is None:
        return n, {"MPILauncher": launcher}
    slots = slots_of(hosts)
    launcher["mpi_args"] = [*words_for(slots), *arguments]
    return n or sum(slots.values()), {"MPILauncher": launcher, SECTION: {"folder": run_folder}}


def words_for(slots: Mapping[str, int]) -> list[str]:
    """Options of `mpiexec` for these hosts, which Open MPI and MPICH know."""
    return ["-host", ",".join(f"{host}:{number}" for host, number in slots.items())]


def folder_of_ranks(place: str | os.PathLike[str] | None) -> Path:
    """Make a folder that only this user can enter, in one that the hosts share.

    Raises:
        ClusterError: it cannot be made.
    """
    try:
        return make_shared_folder(place)
    except OSError as error:
        raise ClusterError(
            f"no folder for the ranks can be made: {error}; name a folder that all hosts share: run_folder="
        ) from error


def write_orders(folder: Path, environment: Mapping[str, str], connection: Path) -> None:
    """Write what the ranks need, for this user's eyes only."""
    orders = {
        "environment": dict(environment),
        "connection": str(connection),
        "addresses": addresses_here(),
        "pid": os.getpid(),
        "machine": machine(),
        "folder": str(Path.cwd()),
    }
    path = folder / ORDERS
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(orders, file)


def prepare(path: str) -> int:
    """Prepare this process to be an engine; return the owner's pid, 0 if that is on another host.

    Another host's `mpiexec` ends its ranks there when it ends itself.
    """
    try:
        orders = json.loads(Path(path).read_text())
        connection = json.loads(Path(orders["connection"]).read_text())
    except OSError as error:
        sys.exit(
            f"this rank, on {socket.gethostname()}, cannot take part: {error}; name a folder that all hosts "
            "share: run_folder="
        )
    os.environ.update(orders["environment"])
    os.environ["IPP_PROFILE_DIR"] = str(Path(orders["connection"]).parents[1])
    os.environ["IPYTHONDIR"] = str(Path(path).with_name("ipython"))
    if Path(orders["folder"]).is_dir():
        os.chdir(orders["folder"])
    here = is_here(orders)
    addresses = ["127.0.0.1"] if here else orders["addresses"]
    address = _reachable(addresses, int(connection["registration"]))
    os.environ["IPP_CONNECTION_INFO"] = json.dumps(
        {**connection, "interface": f"tcp://{in_url(address)}", "location": address, "ssh": ""}
    )
    return int(orders["pid"]) if here else 0


def _reachable(addresses: Sequence[str], port: int) -> str:
    """Return the first address at which the port accepts a connection."""
    deadline = time.monotonic() + PERSIST
    while True:
        refusals = []
        for address in addresses:
            try:
                socket.create_connection((address, port), REACH_TIMEOUT).close()
            except OSError as error:
                refusals.append(f"{address}: {error.strerror or error}")
            else:
                return address
        if time.monotonic() > deadline:
            sys.exit(
                f"this rank, on {socket.gethostname()}, cannot reach port {port} of the controller "
                f"({'; '.join(refusals)})"
            )
        time.sleep(1.0)
