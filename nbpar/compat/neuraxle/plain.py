"""Wrap anything with `transform` as a step of Neuraxle, if Neuraxle is installed."""

from __future__ import annotations

from typing import Any

from nbpar.compat.neuraxle.bases import theirs
from nbpar.compat.neuraxle.steps import can_be_fitted, fitted, name_of

TRANSFORMER: Any = object if theirs is None else theirs.BaseTransformer
STEP: Any = object if theirs is None else theirs.BaseStep


class _Around:
    """Has the attributes of the wrapped object, too."""

    plain: Any

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "plain":
            raise AttributeError(name)
        return getattr(self.plain, name)


class PlainTransformer(_Around, TRANSFORMER):  # type: ignore[misc]  # Neuraxle's
    """Wraps an object that cannot be fitted."""

    def __init__(self, plain: Any) -> None:
        TRANSFORMER.__init__(self, name=name_of(plain))
        self.plain = plain

    def transform(self, data_inputs: Any) -> Any:
        """Apply the wrapped object."""
        return self.plain.transform(data_inputs)


class PlainStep(_Around, STEP):  # type: ignore[misc]  # likewise
    """Wraps an object that can be fitted."""

    def __init__(self, plain: Any) -> None:
        STEP.__init__(self, name=name_of(plain))
        self.plain = plain

    def transform(self, data_inputs: Any) -> Any:
        """Apply the wrapped object."""
        return self.plain.transform(data_inputs)

    def fit(self, data_inputs: Any, expected_outputs: Any = None) -> PlainStep:
        """Fit the wrapped object."""
        self.fit_transform(data_inputs, expected_outputs)
        return self

    def fit_transform(self, data_inputs: Any, expected_outputs: Any = None) -> tuple[PlainStep, Any]:
        """Fit and apply the wrapped object."""
        self.plain, outputs = fitted(self.plain, data_inputs, expected_outputs)
        return self, outputs


def as_step(step: Any) -> Any:
    """Return a step unchanged, or wrapped for Neuraxle; without Neuraxle always unchanged."""
    if theirs is None or isinstance(step, theirs.BaseTransformer):
        return step
    return PlainStep(step) if can_be_fitted(step) else PlainTransformer(step)


def bare(step: Any) -> Any:
    """Return the argument of `as_step`: workers do not need Neuraxle for it."""
    return step.plain if isinstance(step, (PlainTransformer, PlainStep)) else step
