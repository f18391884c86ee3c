"""The pool that `nbpar.use` has put in the place of the default pool of engines.

There is one for the whole process: threads of the notebook, of joblib and of pipelines all see it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from nbpar.cluster.cluster import Cluster
from nbpar.cluster.join import check_kind
from nbpar.core.text import short
from nbpar.errors import PoolClosedError
from nbpar.pool.calls import Calls
from nbpar.pool.pool import Pool
from nbpar.worker.nesting import inside_item

if TYPE_CHECKING:
    from typing_extensions import Self

    from nbpar.pool.launch import Launcher

CLOSED = "the pool of `nbpar.use` is closed; use another, or `nbpar.use(None)` for workers of this machine"


class JoinedPool(Pool):
    """A pool that `nbpar.use` has made for a cluster, and that ends with its use."""

    _warns = False


class Use(Calls):
    """A place in use: it has the calls and attributes of the pool, and a `with` block ends its use.

    Args:
        own: its pool; None: the default pool of this machine.
        what: the place in words; None: it is the pool itself.
        otherwise: returns the default pool of this machine.
        made: the pool was made for this use, and is closed with it.
    """

    def __init__(
        self, own: Pool | None, what: str | None, otherwise: Callable[[], Pool], *, made: bool = False
    ) -> None:
        self.own = own
        self._what = what
        self.made = made
        self.entered = 0
        """Number of `with` blocks that it is in."""

        self._otherwise = otherwise

    @property
    def what(self) -> str:
        """The place in words, as it is now."""
        return repr(self.pool) if self._what is None else self._what

    def again(self) -> Use:
        """Return another use of the same place."""
        return Use(self.own, self._what, self._otherwise)

    @property
    def pool(self) -> Pool:
        """The pool where calls run."""
        return self._otherwise() if self.own is None else self.own

    @property
    def progress(self) -> str:  # type: ignore[override]  # an attribute of pools
        """Default view of maps."""
        return self.pool.progress

    @property
    def launcher(self) -> Launcher:
        """Starts runs; for nbpar's own use."""
        return self.pool.launcher

    def _reserve(self, workers: int | None) -> Callable[[], None]:
        return self.pool._reserve(workers)  # noqa: SLF001 (of our own kind)

    @property
    def _resize_by(self) -> Callable[[int], None] | None:
        return self.pool._resize_by  # noqa: SLF001 (of our own kind)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.pool, name)

    def __enter__(self) -> Self:
        places.enter(self)
        return self

    def __exit__(self, *exc_info: object) -> None:
        places.leave(self)

    def __repr__(self) -> str:
        return f"<nbpar.use: {self.what}>"


class Places:
    """What is in use, and below it what was before."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stack: list[Use] = []

    @property
    def current(self) -> Use | None:
        """What is in use instead of this machine's workers."""
        place = next(iter(self._stack[-1:]), None)
        return place if place is not None and place.own is not None else None

    def put(self, place: Use) -> None:
        """Use a place from now on."""
        with self._lock:
            if len(self._stack) > 1 and not any(last.entered for last in self._stack[-2:]):
                del self._stack[-2]  # no `with` block can lead back there: its pool may go
            self._stack.append(place)

    def enter(self, place: Use) -> None:
        """Use a place for a `with` block."""
        with self._lock:
            place.entered += 1
            if place.entered == 1:
                self._stack = [*(other for other in self._stack if other is not place), place]

    def leave(self, place: Use) -> None:
        """End a `with` block and what was put in it; the blocks of other threads go on."""
        with self._lock:
            place.entered -= 1
            if place.entered:
                return
            if place in self._stack:
                below = self._stack.index(place)
                self._stack[below:] = [later for later in self._stack[below:] if later.entered]
        _let_go(place)

    def clear(self) -> None:
        """Use nothing, and close the pools that were made for places."""
        with self._lock:
            gone, self._stack = self._stack, []
        for place in gone:
            _let_go(place)


places = Places()
"""Those of this process."""


def _let_go(place: Use) -> None:
    if place.made and place.own is not None:
        place.own.close()


def in_use(backend: str = "engines") -> Pool | None:
    """Return the pool in use for calls on this backend; None if the default pool is.

    "engines" is what calls ask for that name no backend: any pool in use stands for it, for another
    backend only a pool of that kind.

    Raises:
        PoolClosedError: it was closed meanwhile.
    """
    place = places.current
    if place is None or inside_item() or backend not in ("engines", place.pool.backend):
        return None
    if place.pool.closed:
        raise PoolClosedError(CLOSED)
    return place.pool


def check_pool(pool: Any) -> None:
    """Raise TypeError unless a `pool=` is None or a pool."""
    if pool is not None and not isinstance(pool, (Pool, Use)):
        raise TypeError(f"pool must be None or an nbpar.Pool, was {short(pool)}")


def opened(place: Any, otherwise: Callable[[], Pool]) -> Use:
    """Return the use of a place, with a pool made for it if it is a cluster.

    Args:
        place: what `nbpar.use` was given.
        otherwise: returns the default pool of this machine.

    Raises:
        TypeError: it is no place; the message says what is.
        ClusterError: it cannot be joined.
        PoolClosedError: it is a closed pool.
    """
    if place is None:
        return Use(None, "the workers of this machine", otherwise)
    if isinstance(place, Use):
        return place.again()
    if isinstance(place, Pool):
        if place.closed:
            raise PoolClosedError
        return Use(place, None, otherwise)
    check_kind(
        place, name="place", before="an nbpar.Pool, ", after=', "ssh://host", or None for this machine'
    )
    pool = JoinedPool(cluster=place)
    if not isinstance(place, Cluster):  # that may have to start: the first call waits for it
        try:
            pool.wait()
        except BaseException:
            pool.close()
            raise
    return Use(pool, _name(place), otherwise, made=True)


def _name(place: Any) -> str:
    if isinstance(place, (str, os.PathLike)):
        return f"the cluster {str(place)!r}"
    return f"the engines of an {type(place).__module__.partition('.')[0]} {type(place).__name__}"
