"""The interface of pools that the magics use; `nbpar.pool.defaults` implements it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from typing_extensions import Unpack

    from nbpar.pool.options import MapOptions


class MapPool(Protocol):
    """The part of a pool that the magics use."""

    @property
    def backend(self) -> str:
        """The kind of its workers."""

    @property
    def joined(self) -> bool:
        """Whether its workers are engines of a cluster that it has not started."""

    @property
    def workers(self) -> Sequence[Mapping[str, Any]]:
        """Current facts of each worker: `worker` (its name), `host`, `pid`."""

    @property
    def awaited(self) -> str:
        """How many workers are there, and what the others wait for; "" for nothing."""

    def map(self, fn: Callable[..., Any], *iterables: Iterable[Any], **options: Unpack[MapOptions]) -> Any:
        """Return the results in input order, when all are done."""

    def imap_unordered(
        self, fn: Callable[..., Any], *iterables: Iterable[Any], **options: Unpack[MapOptions]
    ) -> Iterable[Any]:
        """Return the results in order of completion."""

    def map_async(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        ordered: bool = True,
        **options: Unpack[MapOptions],
    ) -> Any:
        """Return a run at once."""


class Place(Protocol):
    """What is in use instead of the default pool of this machine."""

    made: bool
    """Whether the pool was made for it, and is closed with it."""

    @property
    def what(self) -> str:
        """The place in words."""

    @property
    def pool(self) -> MapPool:
        """The pool where calls run."""


class Pools(Protocol):
    """The default pools of this process."""

    def default_pool(self, workers: int | None = None, backend: str = "engines", gpus: Any = None) -> MapPool:
        """Return a pool, starting it if necessary; with `gpus` each of its workers has a device."""

    def pool_for(self, backend: str, options: MapOptions) -> MapPool:
        """Return a pool for one call; its options may be adapted to it."""

    def used_place(self) -> Place | None:
        """Return what is in use instead of the default pool of this machine."""

    def use(self, place: Any) -> Place:
        """Use a pool or cluster instead; None: the default pool of this machine."""

    def default_pools(self) -> Sequence[MapPool]:
        """Return the open ones."""

    def notices(self) -> Sequence[str]:
        """Return what is to be said of them besides their workers."""

    def close_default_pools(self) -> None:
        """Close them all."""
