"""Base classes of queued pipelines: Neuraxle's own, or stand-ins if it is not installed."""

from __future__ import annotations

import warnings
from importlib import import_module
from types import SimpleNamespace
from typing import Any

PLACES = {
    "neuraxle.base": (
        "BaseSaver", "BaseStep", "BaseTransformer", "ExecutionContext", "MetaStep", "NonFittableMixin",
        "_FittableStep",
    ),
    "neuraxle.data_container": ("DataContainer", "StripAbsentValues"),
    "neuraxle.pipeline": ("Joiner", "MiniBatchSequentialPipeline"),
    "neuraxle.steps.numpy": ("NumpyConcatenateOuterBatch",),
}  # fmt: skip
"""Modules of the classes."""


def _theirs() -> Any:
    """Return Neuraxle's classes; None if it is not installed, cannot be imported, or lacks them."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about its source, in newer Pythons
            modules = {place: import_module(place) for place in PLACES}
        return SimpleNamespace(
            **{name: getattr(modules[place], name) for place, names in PLACES.items() for name in names}
        )
    except Exception:  # noqa: BLE001 (importing it may raise anything)
        return None


theirs: Any = _theirs()
bases: Any = theirs or import_module("nbpar.compat.neuraxle.alone")
