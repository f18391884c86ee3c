"""Batches of data inputs with their ids and expected outputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any


class StripAbsentValues:
    """As a default value: leave the last batch as short as it is.  That is the default here."""


class DataContainer:
    """Ids, data inputs and expected outputs of some items, which belong together by place.

    Args:
        data_inputs: one for each item; `di` is the same.
        ids: names; the places unless given.
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

    @property
    def di(self) -> Any:
        """The data inputs."""
        return self.data_inputs

    @property
    def eo(self) -> Any:
        """The expected outputs."""
        return self.expected_outputs

    def set_data_inputs(self, data_inputs: Any) -> DataContainer:
        """Replace the data inputs."""
        self.data_inputs = data_inputs
        return self

    def copy(self) -> DataContainer:
        """Return a container with the same content."""
        new = DataContainer(self.data_inputs, self.ids, self.expected_outputs)
        new.first = self.first
        return new

    def __len__(self) -> int:
        return len(self.data_inputs)

    def __repr__(self) -> str:
        return f"DataContainer(di={self.di!r}, ids={self.ids!r}, eo={self.eo!r})"


def container_of(given: Any) -> DataContainer:
    """Return a container for data inputs, or for a container of anybody's."""
    if hasattr(given, "data_inputs"):
        ids = getattr(given, "_ids", None) if not isinstance(given, DataContainer) else given.ids
        return DataContainer(given.data_inputs, ids, getattr(given, "expected_outputs", None))
    return DataContainer(given)


def minibatches(
    container: DataContainer, size: int, *, keep_incomplete: bool, fill_inputs: Any, fill_outputs: Any
) -> Iterator[DataContainer]:
    """Yield batches of a container; a short last one is dropped, kept, or filled with given values."""
    whole = (container.data_inputs, container.ids, container.expected_outputs)
    parts = [_slices(values, size) for values in whole]
    first = 0
    while len(inputs := next(parts[0])):
        ids, outputs = next(parts[1]), next(parts[2])
        missing = size - len(inputs)
        if missing and not keep_incomplete:
            return
        batch = DataContainer(
            _filled(inputs, missing, fill_inputs),
            range(first, first + len(inputs)) if ids is None else ids,
            None if outputs is None else _filled(outputs, missing, fill_outputs),
        )
        batch.first = first
        first += len(inputs)
        yield batch


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
    if not missing or fill is None or type(fill).__name__ == "StripAbsentValues":  # ours or Neuraxle's
        return values
    return [*values, *[fill] * missing]
