"""Connect to a cluster that somebody already has, in whichever way they name it."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

from nbpar.cluster.cluster import Cluster
from nbpar.errors import ClusterError

REACH_TIMEOUT = 3.0
"""Seconds for a controller on this or another machine to accept a connection."""

ANSWER_TIMEOUT = 10.0
"""Seconds for it to answer as a controller."""

_NEEDED = ("interface", "registration", "key", "control", "mux", "task", "iopub", "notification")


def connect(cluster: Any, *, timeout: float = ANSWER_TIMEOUT) -> tuple[Any, bool]:
    """A client of the cluster, and whether it is ours to close.

    Args:
        cluster: a Cluster of nbpar (started when it does not run), a running `ipyparallel.Cluster`, an
            `ipyparallel.Client`, the name of an IPython profile, or the path of a connection file.
        timeout: seconds for the controller to answer.

    Raises:
        ClusterError: there is no such cluster, or nothing answers; it never hangs.
        TypeError: `cluster` is none of these.
    """
    if isinstance(cluster, Cluster):
        return cluster.start().client, False
    if isinstance(cluster, (str, os.PathLike)):
        return _client_of(_connection_of(cluster), timeout, str(cluster)), True
    import ipyparallel

    if isinstance(cluster, ipyparallel.Client):
        return _open_client(cluster), False
    if isinstance(cluster, ipyparallel.Cluster):
        return _client_of_running(cluster), True
    raise TypeError(
        "cluster must be an nbpar.Cluster, an ipyparallel Cluster or Client, a profile name "
        f"or the path of a connection file, was {type(cluster).__name__}"
    )


def _open_client(client: Any) -> Any:
    if client._closed:  # noqa: SLF001 (nothing public says so)
        raise ClusterError("the ipyparallel Client is closed; make a new one")
    return client


def _client_of_running(cluster: Any) -> Any:
    if cluster.controller is None or not cluster.controller.running:
        raise ClusterError("the ipyparallel Cluster is not running; call its `start_cluster_sync()` first")
    try:
        return cluster.connect_client_sync()
    except OSError as error:
        raise ClusterError(f"the ipyparallel Cluster does not answer: {error}") from error


def _connection_of(name: str | os.PathLike[str]) -> dict[str, Any]:
    """The content of the connection file that is meant."""
    path = Path(name)
    if path.is_file() or path.suffix == ".json" or len(path.parts) > 1:
        return _read(path)
    return _read(_newest_file(str(name)))


def _newest_file(profile: str) -> Path:
    """The connection file that a profile's newest controller has written."""
    from IPython.paths import get_ipython_dir

    home = Path(get_ipython_dir())
    folder = home / f"profile_{profile}"
    if not folder.is_dir():
        known = sorted(path.name.removeprefix("profile_") for path in home.glob("profile_*"))
        raise ClusterError(f"there is no IPython profile {profile!r} in {home}; there are {known}")
    files = list((folder / "security").glob("ipcontroller*-client.json"))
    if not files:
        raise ClusterError(
            f"no cluster runs for the profile {profile!r}; "
            f"start one with `ipcluster start --profile={profile}`"
        )
    return max(files, key=lambda path: path.stat().st_mtime)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise ClusterError(f"there is no connection file {str(path)!r}; does the cluster run?") from error
    except OSError as error:
        raise ClusterError(f"cannot read the connection file {str(path)!r}: {error.strerror}") from error
    except ValueError as error:
        raise ClusterError(f"{str(path)!r} is not a connection file: {error}") from error
    missing = [key for key in _NEEDED if key not in content] if isinstance(content, dict) else list(_NEEDED)
    if missing:
        hint = "; take the one that ends in -client.json" if "hb_ping" in content else ""
        raise ClusterError(f"{str(path)!r} is not a client's connection file: it lacks {missing[0]!r}{hint}")
    return dict(content)


def _client_of(connection: dict[str, Any], timeout: float, name: str) -> Any:
    import ipyparallel

    _check_reachable(connection, name)
    try:
        return ipyparallel.Client(connection_info=connection, timeout=timeout)
    except OSError as error:  # ipyparallel's TimeoutError too
        raise ClusterError(
            f"what listens where the cluster {name!r} was does not answer as its controller ({error}); "
            "start the cluster again"
        ) from error


def _check_reachable(connection: dict[str, Any], name: str) -> None:
    """Refuse a stale connection file at once instead of waiting for an answer."""
    protocol, _, address = str(connection["interface"]).partition("://")
    if protocol != "tcp" or connection.get("ssh") or address in ("*", "0.0.0.0"):  # noqa: S104 (not bound here)
        return
    try:
        socket.create_connection((address, int(connection["registration"])), REACH_TIMEOUT).close()
    except OSError as error:
        port = connection["registration"]
        raise ClusterError(
            f"the cluster {name!r} does not run any more: nothing listens at {address}:{port} "
            f"({error.strerror or error}); start it again"
        ) from error
