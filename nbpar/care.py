"""What a pool is told of its workers' memory and age, checked, and as rules for its dispatcher."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nbpar.dispatch.memory import MemoryRules
from nbpar.errors import ClusterError
from nbpar.memory_guard import MemoryGuard
from nbpar.options import at_least


@dataclass(frozen=True)
class WorkerCare:
    """Limits of a pool.

    Raises:
        TypeError, ValueError: a number that does not do; the message says what does.
    """

    max_items: int | None = None
    """A worker is renewed when it was given so many items."""

    max_memory: int | None = None
    """A worker that holds more bytes is renewed."""

    min_free: float | str | None = "auto"
    """Bytes that have to be free on this host, or the share of its memory."""

    def __post_init__(self) -> None:
        if self.max_items is not None:
            at_least(1, "max_items_per_worker", self.max_items, "None or ")
        if self.max_memory is not None:
            at_least(1, "max_worker_memory", self.max_memory, "None or ")
        if self.min_free is not None and self.min_free != "auto":
            _amount("min_free_memory", self.min_free)

    @property
    def renews(self) -> bool:
        """Whether workers may have to be renewed."""
        return self.max_items is not None or self.max_memory is not None

    def refuse_without_engines(self, backend: str) -> None:
        """Raise when workers of this backend would have to be renewed and cannot be."""
        if self.renews and backend != "engines":
            raise ValueError(
                "max_items_per_worker and max_worker_memory need engines: "
                f"what {backend!r} workers hold belongs to this process"
            )

    def rules(self, renew: Callable[[str], None] | None) -> MemoryRules:
        """Return the rules for a dispatcher; `renew` replaces a worker.

        Raises:
            ClusterError: workers would have to be renewed and belong to somebody else.
        """
        if self.renews and renew is None:
            raise ClusterError(
                "max_items_per_worker and max_worker_memory need engines that nbpar has started; "
                "this pool has joined somebody else's cluster"
            )
        guard = None if self.min_free is None else MemoryGuard(self.min_free)
        return MemoryRules(guard, self.max_items, self.max_memory, renew)


def _amount(name: str, value: Any) -> None:
    if isinstance(value, (bool, str)) or not hasattr(value, "__float__"):
        raise TypeError(f'{name} must be "auto", None, bytes or a share of the memory, was {value!r}')
    if not 0 < value < float("inf"):
        raise ValueError(f"{name} must be above 0, was {value!r}")
