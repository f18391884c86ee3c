"""Steps of queued pipelines: parsing their forms, and fitting."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nbpar.compat.neuraxle.applying import has_handlers
from nbpar.compat.neuraxle.bases import theirs

FORMS = (
    "a step is written as one of: step; (n_workers, step); (name, step); (name, n_workers, step); "
    "(name, n_workers, max_queued_minibatches, step); (name, n_workers, [worker arguments], step); "
    "(name, n_workers, [worker arguments], max_queued_minibatches, step); and it has a method `transform`"
)


@dataclass(frozen=True)
class StepSpec:
    """A step, and its workers."""

    step: Any
    name: str
    n_workers: int
    max_queued: int | None
    worker_arguments: tuple[dict[str, Any], ...] | None


def parse_step(given: Any, n_workers: int | None, max_queued: int | None) -> StepSpec:
    """Parse one of the seven forms.

    Raises:
        TypeError: it is none of them, or the step has no `transform`.
        ValueError: there are fewer worker arguments than workers.
    """
    parts = given if isinstance(given, tuple) else (given,)
    if not parts or not hasattr(parts[-1], "transform"):
        raise TypeError(f"{FORMS}; was {given!r}")
    *before, step = parts
    name = before.pop(0) if before and isinstance(before[0], str) else name_of(step)
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
    """Whether fitting a step has an effect."""
    if theirs is not None and has_handlers(step):
        return isinstance(step, theirs._FittableStep) and not isinstance(step, theirs.NonFittableMixin)  # noqa: SLF001 (Neuraxle's streaming asks so)
    return hasattr(step, "fit") or hasattr(step, "fit_transform")


def fitted(step: Any, data_inputs: Any, expected_outputs: Any) -> tuple[Any, Any]:
    """Fit a plain step; return the step and the outputs."""
    arguments = (data_inputs,) if expected_outputs is None else (data_inputs, expected_outputs)
    if not can_be_fitted(step):
        return step, step.transform(data_inputs)
    if hasattr(step, "fit_transform"):
        result = step.fit_transform(*arguments)
        if isinstance(result, tuple) and len(result) == 2 and hasattr(result[0], "transform"):
            return result  # as in Neuraxle
        return step, result  # as in scikit-learn
    step = step.fit(*arguments) or step
    return step, step.transform(data_inputs)


def name_of(step: Any) -> str:
    """Return the name of an unnamed step."""
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
