"""Steps of queued pipelines: how they are written, and how they are fitted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nbpar.compat.neuraxle.applying import Applied, is_neuraxle, transformed
from nbpar.compat.neuraxle.batches import DataContainer
from nbpar.pipeline import Stage

FORMS = (
    "a step is written as one of: step; (n_workers, step); (name, step); (name, n_workers, step); "
    "(name, n_workers, max_queued_minibatches, step); (name, n_workers, [worker arguments], step); "
    "(name, n_workers, [worker arguments], max_queued_minibatches, step); and it has a method `transform`"
)


@dataclass(frozen=True)
class StepSpec:
    """A step, and the workers that it gets."""

    step: Any
    name: str
    n_workers: int
    max_queued: int | None
    worker_arguments: tuple[dict[str, Any], ...] | None

    def stage(self, backend: str, applied: Applied) -> Stage:
        """Return the stage that applies the step to batches."""
        own = None
        if self.worker_arguments is not None:
            own = [(attributes,) for attributes in self.worker_arguments[: self.n_workers]]
        return Stage(
            applied, workers=self.n_workers, backend=backend, queue_size=self.max_queued or None,
            batch_size=1, name=self.name, worker_args=own,
        )  # fmt: skip


def parse_step(given: Any, n_workers: int | None, max_queued: int | None) -> StepSpec:
    """Return what one of the seven forms says.

    Raises:
        TypeError: it is none of them, or the step has no `transform`.
        ValueError: there are fewer worker arguments than workers.
    """
    parts = given if isinstance(given, tuple) else (given,)
    if not parts or not hasattr(parts[-1], "transform"):
        raise TypeError(f"{FORMS}; was {given!r}")
    *before, step = parts
    name = before.pop(0) if before and isinstance(before[0], str) else _name_of(step)
    number = before.pop(0) if before and _is_count(before[0]) else n_workers
    arguments = None
    if before and isinstance(before[0], Sequence) and not isinstance(before[0], str):
        arguments = tuple(_attributes(pairs, given) for pairs in before.pop(0))
    queued = before.pop(0) if before and _is_count(before[0]) else max_queued
    if before or len(parts) > 5 or (len(parts) > 2 and not isinstance(parts[0], str)):
        raise TypeError(f"{FORMS}; was {given!r}")
    spec = StepSpec(step, name, max(1, number or 1), queued, arguments)
    if arguments is not None and len(arguments) < spec.n_workers:
        raise ValueError(f"step {name!r} has {spec.n_workers} workers, and arguments for {len(arguments)}")
    return spec


def can_be_fitted(step: Any) -> bool:
    """Whether fitting a step means anything."""
    if is_neuraxle(step):
        from neuraxle.base import NonFittableMixin, _FittableStep

        return isinstance(step, _FittableStep) and not isinstance(step, NonFittableMixin)
    return hasattr(step, "fit") or hasattr(step, "fit_transform")


def fitted(step: Any, batch: DataContainer) -> tuple[Any, DataContainer]:
    """Fit a step to a batch; return the step and the transformed batch."""
    arguments = (batch.data_inputs,) if batch.expected_outputs is None else (batch.di, batch.eo)
    if not can_be_fitted(step):
        return step, transformed(step, batch)
    if hasattr(step, "fit_transform"):
        result = step.fit_transform(*arguments)
        new = batch.copy()
        if isinstance(result, tuple) and len(result) == 2 and hasattr(result[0], "transform"):
            step, new.data_inputs = result  # as Neuraxle does it
        else:
            new.data_inputs = result  # as scikit-learn does it
        return step, new
    return step.fit(*arguments) or step, transformed(step, batch)


def _name_of(step: Any) -> str:
    name = getattr(step, "name", None)
    return name if isinstance(name, str) else type(step).__name__


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _attributes(pairs: Any, given: Any) -> dict[str, Any]:
    """Return attributes from a flat (name, value, name, value, ...), a dict, or pairs."""
    if isinstance(pairs, Mapping):
        return dict(pairs)
    flat = list(pairs) if isinstance(pairs, Iterable) and not isinstance(pairs, str) else [pairs]
    if all(isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in flat):
        return dict(flat)
    if len(flat) % 2 or not all(isinstance(name, str) for name in flat[::2]):
        raise TypeError(f"each worker's arguments are (attribute, value, ...), was {pairs!r} in {given!r}")
    return dict(zip(flat[::2], flat[1::2], strict=True))
