"""Batches of data inputs with their ids and expected outputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self


class Batch:
    """Items between stages, as plain objects, so that workers do not need Neuraxle for them.

    Args:
        data_inputs: one for each item; `di` is the same.
        ids: names; by default the positions.
        expected_outputs: one for each item, or None for none; `eo` is the same.
    """

    def __init__(
        self,
        data_inputs: Any = None,
        ids: Any = None,
        expected_outputs: Any = None,
        *,
        di: Any = None,
        eo: Any = None,
    ) -> None:
        self.data_inputs = data_inputs if di is None else di
        self.ids = ids
        self.expected_outputs = expected_outputs if eo is None else eo
        self.first = 0
        """Index of its first item in the whole input."""

    @property
    def di(self) -> Any:
        """The data inputs."""
        return self.data_inputs

    @property
    def eo(self) -> Any:
        """The expected outputs."""
        return self.expected_outputs

    def copy(self) -> Self:
        """Return a copy."""
        new = type(self)(self.data_inputs, self.ids, self.expected_outputs)
        new.first = self.first
        return new

    def __len__(self) -> int:
        return len(self.data_inputs)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(di={self.di!r}, ids={self.ids!r}, eo={self.eo!r})"


def batch_of(container: Any) -> Batch:
    """Return the content of a container, Neuraxle's or ours."""
    ids = container.ids if isinstance(container, Batch) else getattr(container, "_ids", None)
    return Batch(container.data_inputs, ids, container.expected_outputs)


def minibatches(
    whole: Batch, size: int, *, keep_incomplete: bool, fill_inputs: Any, fill_outputs: Any
) -> Iterator[Batch]:
    """Yield batches; a short last one is dropped, kept, or filled with given values."""
    parts = [_slices(values, size) for values in (whole.data_inputs, whole.ids, whole.expected_outputs)]
    first = 0
    while len(inputs := next(parts[0])):
        ids, outputs = next(parts[1]), next(parts[2])
        missing = size - len(inputs)
        if missing and not keep_incomplete:
            return
        batch = Batch(
            _filled(inputs, missing, fill_inputs),
            range(first, first + len(inputs)) if ids is None else ids,
            None if outputs is None else _filled(outputs, missing, fill_outputs),
        )
        batch.first = first
        first += len(inputs)
        yield batch


def merged(parts: list[Any]) -> Any:
    """Join lists to a list, arrays to an array."""
    if parts and all(type(part).__module__ == "numpy" for part in parts):
        import numpy as np

        return np.concatenate(parts)
    return [value for part in parts for value in part]


def _slices(values: Iterable[Any] | None, size: int) -> Iterator[Any]:
    """Yield slices of a sequence, lists of an iterator's items, or None for ever."""
    if values is None:
        while True:
            yield None
    if hasattr(values, "__len__") and hasattr(values, "__getitem__"):
        start = 0
        while True:
            yield values[start : start + size]
            start += size
    iterator = iter(values)
    while True:
        yield list(islice(iterator, size))


def _filled(values: Sequence[Any], missing: int, fill: Any) -> Sequence[Any]:
    if not missing or type(fill).__name__ == "StripAbsentValues":  # ours or Neuraxle's
        return values
    return [*values, *[fill] * missing]
