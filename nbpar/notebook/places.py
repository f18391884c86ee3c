"""Pools and clusters by the names that they have in the notebook: `--pool NAME`, `%nbpar use NAME`."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any, cast

from IPython.core.error import UsageError

from nbpar.cluster.join import is_cluster, running_profiles
from nbpar.core.text import plural
from nbpar.errors import ClusterError, PoolClosedError
from nbpar.pool.in_use import Use
from nbpar.pool.pool import Pool

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from nbpar.notebook.pools import MapPool, Place

HOSTS = 4
"""Maximal number of hosts in a sentence."""

BACK = "`%nbpar use None` brings them back to this machine"


def pool_named(name: str, names: Mapping[str, Any], backend: str) -> MapPool:
    """Return the pool that a variable of the notebook holds, for calls on `backend`.

    Raises:
        UsageError: there is no such variable, it holds something else, or a pool of another kind.
    """
    if name not in names:
        known = ", ".join(pools_among(names)) or "none"
        raise UsageError(f"there is no variable `{name}`; the pools of this notebook are: {known}")
    pool = names[name]
    if not isinstance(pool, (Pool, Use)):
        raise UsageError(_no_pool(name, pool))
    if backend not in ("engines", pool.backend):
        raise UsageError(
            f"`--backend {backend}` and `--pool {name}`, which is on {pool.backend}: leave one out"
        )
    return cast("MapPool", pool)


def _no_pool(name: str, value: Any) -> str:
    kind = type(value).__name__
    if is_cluster(value):
        step = f"make a pool of it, `pool = nbpar.Pool(cluster={name})`, or `%nbpar use {name}`"
        return f"`{name}` is a {kind}; {step}"
    return f"`{name}` must be an nbpar.Pool, was {kind}"


def place_named(text: str, names: Mapping[str, Any]) -> Any:
    """Return what `nbpar.use` is to be given: the value of a variable, else the name of a cluster.

    Quotes around it say that it is no variable.

    Raises:
        UsageError: it is an expression, which has to get a name first.
    """
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1]
    if text in names:
        return names[text]
    if _is_expression(text, names):
        raise UsageError(
            f"`%nbpar use` takes a name, was the expression `{text}`; write `place = {text}` before it, then "
            "`%nbpar use place`"
        )
    return None if text.lower() == "none" else text


def _is_expression(text: str, names: Mapping[str, Any]) -> bool:
    """Whether a text calls something, or begins with a variable and goes on with `.` or `[`."""
    try:
        node: ast.AST = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError):  # of a path or a URL
        return False
    if isinstance(node, ast.Call):
        return True
    inside = node
    while isinstance(inside, (ast.Attribute, ast.Subscript)):
        inside = inside.value
    return inside is not node and isinstance(inside, ast.Name) and inside.id in names


def pools_among(names: Mapping[str, Any]) -> list[str]:
    """Return the variables that hold open pools."""
    return [name for name, value in _public(names) if isinstance(value, (Pool, Use)) and not value.closed]


def places_among(names: Mapping[str, Any]) -> list[str]:
    """Return what `%nbpar use` may be followed by: variables with pools and clusters, and profiles."""
    clusters = [name for name, value in _public(names) if is_cluster(value)]
    return [*pools_among(names), *clusters, *running_profiles(), "None"]


def _public(names: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    return ((name, value) for name, value in list(names.items()) if not name.startswith("_"))


def workers_of(place: Place) -> tuple[Sequence[Mapping[str, Any]], str]:
    """Return the workers of what is in use, and a sentence about it."""
    try:
        workers, awaited = place.pool.workers, place.pool.awaited
    except (ClusterError, PoolClosedError) as error:
        return (), f"calls should run on {place.what}, but: {error}; {BACK}"
    hosts = sorted({str(worker["host"]) for worker in workers if worker.get("host")})
    shown = ", ".join(hosts[:HOSTS]) + (f" and {len(hosts) - HOSTS} more" if len(hosts) > HOSTS else "")
    where = f" on {shown}" if hosts else ""
    there = awaited or f"{plural(len(workers), 'worker')}{where}"
    return workers, f"calls run on {place.what}: {there}; {BACK}"
