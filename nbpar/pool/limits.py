"""Memory and recycling limits of a pool's workers, validated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nbpar.cluster.base import Lifetime
from nbpar.core.checks import at_least
from nbpar.dispatch.memory import MemoryRules
from nbpar.errors import ClusterError
from nbpar.host.memory import MemoryGuard


@dataclass(frozen=True)
class WorkerLimits:
    """Limits of a pool.

    Raises:
        TypeError, ValueError: a number is invalid; the message says what is allowed.
    """

    max_items: int | None = None
    """A worker is replaced after this number of items."""

    max_memory: int | None = None
    """A worker that holds more bytes is replaced."""

    min_free: float | str | None = "auto"
    """Bytes to keep free on this host, or a share of its memory."""

    def __post_init__(self) -> None:
        if self.max_items is not None:
            most = at_least(1, "max_items_per_worker", self.max_items, "None or ")
            object.__setattr__(self, "max_items", most)
        if self.max_memory is not None:
            most = at_least(1, "max_worker_memory", self.max_memory, "None or ")
            object.__setattr__(self, "max_memory", most)
        if self.min_free is not None and self.min_free != "auto":
            _amount("min_free_memory", self.min_free)

    @property
    def renews(self) -> bool:
        """Whether workers may have to be replaced."""
        return self.max_items is not None or self.max_memory is not None

    def refuse_without_engines(self, backend: str) -> None:
        """Raise if the limits require replacing workers and this backend cannot."""
        if self.renews and backend != "engines":
            raise ValueError(
                "max_items_per_worker and max_worker_memory need engines: "
                f"what {backend!r} workers hold belongs to this process"
            )

    def rules(
        self,
        renew: Callable[[str], None] | None,
        lifetime: Callable[[str], Lifetime | None] | None = None,
    ) -> MemoryRules:
        """Return the rules for a dispatcher; `renew` replaces a worker, `lifetime` says when one ends.

        Raises:
            ClusterError: the limits require replacing workers of a cluster that the pool does not own.
        """
        if self.renews and renew is None:
            raise ClusterError(
                "max_items_per_worker and max_worker_memory need engines that nbpar has started; "
                "this pool has joined a cluster that it does not own"
            )
        guard = None if self.min_free is None else MemoryGuard(self.min_free)
        return MemoryRules(guard, self.max_items, self.max_memory, renew, lifetime)


def _amount(name: str, value: Any) -> None:
    if isinstance(value, (bool, str)) or not hasattr(value, "__float__"):
        raise TypeError(f'{name} must be "auto", None, bytes or a share of the memory, was {value!r}')
    if not 0 < value < float("inf"):
        raise ValueError(f"{name} must be above 0, was {value!r}")
