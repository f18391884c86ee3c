"""Connect to an existing cluster: by profile, connection file, Client or Cluster object."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from nbpar.cluster.client import hushed
from nbpar.cluster.cluster import Cluster
from nbpar.cluster.registration import Starting, await_engines, of_cluster, of_file
from nbpar.cluster.remote.hosts import parse_hosts
from nbpar.errors import ClusterError

REACH_TIMEOUT = 3.0
"""Seconds for a controller on this or another machine to accept a connection."""

ANSWER_TIMEOUT = 10.0
"""Seconds for it to answer as a controller."""

_NEEDED = ("interface", "registration", "key", "control", "mux", "task", "iopub", "notification")


def connect(cluster: Any, *, timeout: float = ANSWER_TIMEOUT) -> tuple[Any, bool]:
    """A client of the cluster, and whether the caller must close it.

    Args:
        cluster: a Cluster of nbpar (started if it is not running), a running `ipyparallel.Cluster`, an
            `ipyparallel.Client`, the name of an IPython profile, or the path of a connection file.
        timeout: seconds for the controller to answer.

    Raises:
        ClusterError: there is no such cluster, or it does not answer; this never hangs.
        TypeError: `cluster` is none of these.
    """
    check_kind(cluster)
    if isinstance(cluster, Cluster):
        return cluster.start().client, False
    if isinstance(cluster, (str, os.PathLike)):
        return _client_of(_read(_file_of(cluster)), timeout, str(cluster)), True
    import ipyparallel

    if isinstance(cluster, ipyparallel.Client):
        return hushed(_open_client(cluster)), False
    return hushed(_client_of_running(cluster)), True


def await_its_engines(cluster: Any, client: Any, given_up: Callable[[], bool]) -> None:
    """Wait until the engines of a joined cluster have registered, if it was started just now.

    Args:
        cluster: what `connect` was given, and is no Cluster of nbpar.
        client: what it returned.
        given_up: returns whether the engines are not needed any more.

    Raises:
        ClusterError: it has none, and none will come.
    """
    if isinstance(cluster, (str, os.PathLike)):
        await_engines(client, f"the cluster {str(cluster)!r}", partial(of_file, _file_of(cluster)), given_up)
    elif (started := getattr(client, "cluster", None)) is not None:
        await_engines(client, "the ipyparallel Cluster", partial(of_cluster, started), given_up)
    else:  # nothing tells since when its cluster runs
        await_engines(client, "the ipyparallel Client", partial(Starting, since=time.time()), given_up)


def check_kind(cluster: Any, *, name: str = "cluster", before: str = "", after: str = "") -> None:
    """Raise TypeError unless it is an object that can be joined, running or not.

    Args:
        cluster: the object.
        name: what it was given as.
        before: further kinds that are allowed there, before these.
        after: the same, after these.
    """
    if isinstance(cluster, (str, os.PathLike)) or is_cluster(cluster):
        return
    raise TypeError(
        f"{name} must be {before}an nbpar.Cluster, an ipyparallel Cluster or Client, a profile name, "
        f"{'' if after else 'or '}the path of a connection file{after}, was {_kind(cluster)}"
    )


def check_place(name: str, cluster: Any) -> None:
    """Raise if it is clear without asking any other process that a cluster cannot be joined.

    Args:
        name: what it was given as.
        cluster: as of `connect`, or a URL as of `cluster_of`.

    Raises:
        TypeError: it is no cluster.
        ClusterError: there is no such cluster, or it was stopped.
    """
    check_kind(cluster, name=name)
    if isinstance(cluster, (str, os.PathLike)):
        if (url := _url(cluster)) is None:
            _read(_file_of(cluster))
        else:
            parse_hosts(url)
    elif not isinstance(cluster, Cluster):
        import ipyparallel

        if isinstance(cluster, ipyparallel.Client):
            _open_client(cluster)
        else:
            _running(cluster)


def is_cluster(given: Any) -> bool:
    """Whether an object is a cluster, or a client of one."""
    if isinstance(given, Cluster):
        return True
    if "ipyparallel" not in sys.modules:  # nothing is one of its clusters before that
        return False
    import ipyparallel

    return isinstance(given, (ipyparallel.Client, ipyparallel.Cluster))


_HINTS = {
    "distributed": "start ipyparallel engines on its machines, and join those",
    "ray": "start ipyparallel engines on its machines, and join those",
    "dask": "start ipyparallel engines on its machines, and join those",
    "concurrent": "nbpar's workers are ipyparallel engines, threads, or `nbpar.Pool(2)` here",
    "multiprocessing": "nbpar's workers are ipyparallel engines, threads, or `nbpar.Pool(2)` here",
    "joblib": "`nbpar.register_joblib()` is the way from joblib to nbpar",
}
"""What to do about others' objects, by their package."""


def _kind(given: Any) -> str:
    """Return the kind of an object that is no cluster, with what to do if it can be guessed."""
    import ipyparallel

    if isinstance(given, type):
        return f"the class {given.__name__}; write `{given.__name__}(...)` to make one"
    if isinstance(given, ipyparallel.client.view.View):
        return f"the {type(given).__name__} of a Client; give its `client`"
    if isinstance(given, int):
        return f"int; `nbpar.Pool({given})` is a pool of that size"
    package = type(given).__module__.partition(".")[0]
    hint = _HINTS.get(package)
    return f"a {package} {type(given).__name__}; {hint}" if hint else type(given).__name__


def running_profiles() -> list[str]:
    """Return the names of the IPython profiles that have a connection file of a cluster."""
    from IPython.paths import get_ipython_dir

    files = Path(get_ipython_dir()).glob("profile_*/security/ipcontroller*-client.json")
    return sorted({file.parent.parent.name.removeprefix("profile_") for file in files})


def cluster_of(name: str | os.PathLike[str]) -> Cluster | None:
    """Return a cluster to start, for a URL; None for the profile or the connection file of a running one.

    "ssh://ann@gpu01" is that host, "ssh://ann@gpu01:2222" at a port; the caller starts and stops the cluster.

    Raises:
        ClusterError: it is no URL of a cluster.
    """
    return None if (url := _url(name)) is None else Cluster.ssh(url)


def _url(name: str | os.PathLike[str]) -> str | None:
    scheme, separator, _ = str(name).partition("://")
    if not separator:
        return None
    if scheme == "ssh":
        return str(name)
    raise ClusterError(
        f"{str(name)!r} is no cluster: {scheme}:// is unknown; give the name of an IPython profile, the "
        'path of a connection file, or "ssh://host"'
    )


def has_ended(client: Any) -> bool:
    """Whether nothing listens any more where the controller of a client was; False if that is not known."""
    protocol, _, place = str(client._config["registration"]).partition("://")  # noqa: SLF001 (not public)
    address, _, port = place.rpartition(":")
    if protocol != "tcp" or client._ssh or not port.isdecimal():  # noqa: SLF001 (not public)
        return False
    try:
        socket.create_connection((address.strip("[]"), int(port)), REACH_TIMEOUT).close()
    except ConnectionRefusedError:
        return True
    except OSError:  # the network may be down for a while
        return False
    return False


def _open_client(client: Any) -> Any:
    if client._closed:  # noqa: SLF001 (not public)
        raise ClusterError("the ipyparallel Client is closed; make a new one")
    return client


def _running(cluster: Any) -> Any:
    if cluster.controller is None or not cluster.controller.running:
        raise ClusterError("the ipyparallel Cluster is not running; call its `start_cluster_sync()` first")
    return cluster


def _client_of_running(cluster: Any) -> Any:
    try:
        return _running(cluster).connect_client_sync()
    except OSError as error:
        raise ClusterError(f"the ipyparallel Cluster does not answer: {error}") from error


def _file_of(name: str | os.PathLike[str]) -> Path:
    """The connection file of the cluster."""
    if not str(name):
        raise ClusterError(
            "the name of the cluster is empty; give that of an IPython profile, the path of a connection "
            'file, or "ssh://host"'
        )
    path = Path(name)
    if path.is_file() or path.suffix == ".json" or len(path.parts) > 1:
        return path
    return _newest_file(str(name))


def _newest_file(profile: str) -> Path:
    """The latest connection file of a profile's controllers."""
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
        return hushed(ipyparallel.Client(connection_info=connection, timeout=timeout))
    except OSError as error:  # ipyparallel's TimeoutError too
        raise ClusterError(
            f"what listens where the cluster {name!r} was does not answer as its controller ({error}); "
            "start the cluster again"
        ) from error


def _check_reachable(connection: dict[str, Any], name: str) -> None:
    """Reject a stale connection file at once instead of waiting for an answer."""
    protocol, _, address = str(connection["interface"]).partition("://")
    if protocol != "tcp" or connection.get("ssh") or address in ("*", "0.0.0.0"):  # noqa: S104 (not bound here)
        return
    port = int(connection["registration"])
    try:
        socket.create_connection((address, port), REACH_TIMEOUT).close()
    except OSError as error:
        raise ClusterError(
            f"the cluster {name!r} does not run any more: nothing listens at {address}:{port} "
            f"({error.strerror or error}); start it again"
        ) from error
