"""The default pools: made when first used, kept warm, closed with the interpreter."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import Any

from nbpar.core.results import Results
from nbpar.pool import Pool
from nbpar.run import Run
from nbpar.worker.inside import inside_item

_pools: dict[str, Pool] = {}  # by backend
_lock = threading.Lock()


def default_pool(workers: int | None = None, backend: str = "engines") -> Pool:
    """Return the default pool of this kind, with so many workers if a number is given.

    There is one of each kind.  It is started when it is first used, and resized when another number is given.
    """
    if inside_item():
        return Pool(backend="serial", progress="none")
    with _lock:
        pool = _pools.get(backend)
        if pool is None or pool.closed or pool.failed:
            pool = _pools[backend] = Pool(workers, backend=backend)
        elif workers is not None and workers != pool.size:
            pool.resize(workers)
        return pool


def default_pools() -> list[Pool]:
    """Return the default pools that are open."""
    return [pool for pool in _pools.values() if not pool.closed]


def close_default_pools() -> None:
    """Close them all; the next use starts anew."""
    with _lock:
        pools = list(_pools.values())
        _pools.clear()
    for pool in pools:
        pool.close()


def map(fn: Callable[..., Any], *iterables: Iterable[Any], **options: Any) -> Results:  # noqa: A001 (our map)
    """Apply `fn` to every item, on the default pool, and return the results in input order.

    `nbpar.Pool.map?` says which options there are and what is raised.
    """
    __tracebackhide__ = True
    return default_pool().map(fn, *iterables, **options)


def starmap(fn: Callable[..., Any], iterable: Iterable[Any], **options: Any) -> Results:
    """Like `map`, for items that are tuples of arguments, or dicts of keyword arguments."""
    __tracebackhide__ = True
    return default_pool().starmap(fn, iterable, **options)


def imap(fn: Callable[..., Any], *iterables: Iterable[Any], **options: Any) -> Iterator[Any]:
    """Apply `fn` to every item, on the default pool, and yield the results in input order, as they come.

    Endless input is fine; leaving the loop early stops the rest.  `nbpar.Pool.imap?` says more.
    """
    return default_pool().imap(fn, *iterables, **options)


def imap_unordered(fn: Callable[..., Any], *iterables: Iterable[Any], **options: Any) -> Iterator[Any]:
    """Like `imap`, but yield each result as soon as it is there, whichever item it belongs to."""
    return default_pool().imap_unordered(fn, *iterables, **options)


def map_async(fn: Callable[..., Any], *iterables: Iterable[Any], **options: Any) -> Run:
    """Begin a map on the default pool and return it at once, as a `Run` to `await` or to `get()` later.

    `nbpar.Pool.map_async?` says more.
    """
    return default_pool().map_async(fn, *iterables, **options)


def submit(fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
    """Call `fn(*args, **kwargs)` on a worker of the default pool and return a future at once.

    It can be cancelled even while the function runs.
    """
    return default_pool().submit(fn, *args, **kwargs)


def each(fn: Callable[..., Any], *args: Any) -> list[Any]:
    """Call `fn(*args)` once on every worker of the default pool and return one value per worker."""
    __tracebackhide__ = True
    return default_pool().each(fn, *args)
