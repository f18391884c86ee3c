"""What the magics ask of pools; `nbpar.defaults` offers it, and tests put something lighter in its place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence


class MapPool(Protocol):
    """A pool, as far as the magics use it."""

    @property
    def workers(self) -> Sequence[Mapping[str, Any]]:
        """What is known of each worker now: `worker` (its name), `host`, `pid`."""

    def map(self, fn: Callable[..., Any], *iterables: Iterable[Any], **options: Any) -> Any:
        """Results in input order, when all are there."""

    def imap_unordered(
        self, fn: Callable[..., Any], *iterables: Iterable[Any], **options: Any
    ) -> Iterable[Any]:
        """Results as they come."""

    def map_async(self, fn: Callable[..., Any], *iterables: Iterable[Any], **options: Any) -> Any:
        """A run at once."""


class Pools(Protocol):
    """The default pools of this process."""

    def default_pool(self, workers: int | None = None, backend: str = "engines") -> MapPool:
        """Start a pool, or find the one that runs."""

    def default_pools(self) -> Sequence[MapPool]:
        """Those that run."""

    def close_default_pools(self) -> None:
        """End them all."""
