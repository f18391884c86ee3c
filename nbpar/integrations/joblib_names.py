"""Names of joblib's tasks in views and errors; those of scikit-learn's searches by candidate and split."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from nbpar.core.outcome import Failure
from nbpar.core.text import function_name, plural, shown


@dataclass(frozen=True, repr=False)
class TaskFailure(Failure):
    """A failed task; `item` is its arguments and keyword arguments, `function` is what it called."""

    @property
    def where(self) -> str:
        """Its place among the tasks, or in a search."""
        place = place_of(self.item[1])
        return f"task {self.index}" if place is None else str(place)


class Place(NamedTuple):
    """A fit of a search: one candidate on one split."""

    candidate: int
    candidates: int
    split: int
    splits: int
    parameters: Any

    def __str__(self) -> str:
        given = self.parameters
        words = ", ".join(f"{name}={shown(value)}" for name, value in given.items()) if given else ""
        told = f" ({words})" if words else ""
        return f"candidate {self.candidate} of {self.candidates}{told}, split {self.split} of {self.splits}"


def place_of(kwargs: Mapping[str, Any]) -> Place | None:
    """Return which fit of a search has these keyword arguments, counted from 1 as scikit-learn does."""
    candidate, split = kwargs.get("candidate_progress"), kwargs.get("split_progress")
    if candidate is None or split is None or not (_is_progress(candidate) and _is_progress(split)):
        return None
    parameters = kwargs.get("parameters")
    if not isinstance(parameters, dict):
        parameters = {}
    return Place(candidate[0] + 1, candidate[1], split[0] + 1, split[1], parameters)


def label_of(function: Callable[..., Any], kwargs: Mapping[str, Any]) -> str:
    """Return the label of a run by its first task."""
    place = place_of(kwargs)
    if place is None:
        return function_name(function)
    caller = kwargs.get("caller")  # the search, as of scikit-learn 1.9
    name = function_name(function) if caller is None else type(caller).__name__
    return f"{name} ({plural(place.candidates, 'candidate')}, {plural(place.splits, 'split')})"


def total_of(kwargs: Mapping[str, Any], known: int | None) -> int | None:
    """Return the number of tasks, if joblib knows it or the first one tells."""
    place = place_of(kwargs)
    return known if known is not None or place is None else place.candidates * place.splits


def _is_progress(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(type(number) is int for number in value)
