"""pandas on nbpar's workers: `df.apply(f, axis=1, engine=nbpar.pandas)`, and `df.nbpar` once imported.

Raises:
    ImportError: pandas is missing, or older than 2.2.
"""

from __future__ import annotations

from importlib import import_module

try:
    _pandas = import_module("pandas")
except ImportError as error:
    raise ImportError("nbpar.pandas needs pandas 2.2 or newer: pip install pandas") from error
if tuple(int(part) for part in _pandas.__version__.split(".")[:2]) < (2, 2):
    raise ImportError(f"nbpar.pandas needs pandas 2.2 or newer, there is {_pandas.__version__}")

from nbpar.integrations.pandas import ExecutionEngine, decision, engine

__all__ = ["engine", "decision"]

__pandas_udf__ = ExecutionEngine
"""What pandas looks for in the object given as `engine=`."""
